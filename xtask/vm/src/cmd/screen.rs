//! Shows the state of a cluster again and again, on a terminal or in a file.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// How many events stay below the table.
const EVENTS: usize = 8;
/// How often the table is printed where it cannot be overwritten.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Shows a header, the table and the last events.
pub(crate) struct Screen {
    events: VecDeque<String>,
    terminal: bool,
    last: Option<Instant>,
}

impl Screen {
    pub(crate) fn new(header: &str) -> Self {
        let terminal = stdout().is_terminal();
        if !terminal {
            print(header);
        }
        Self { events: VecDeque::new(), terminal, last: None }
    }

    pub(crate) fn event(&mut self, text: &str) {
        if !self.terminal {
            return print(&format!("{text}\n"));
        }
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(text.to_owned());
    }

    /// Shows the table. On a terminal it replaces the earlier one, and the header is above it.
    pub(crate) fn draw(&mut self, header: impl FnOnce() -> String, table: impl FnOnce() -> String) {
        if !self.terminal {
            if self.last.is_none_or(|last| last.elapsed() > PLAIN_INTERVAL) {
                self.last = Some(Instant::now());
                print(&format!("{}\n", table()));
            }
            return;
        }
        let mut text = format!("{}\n{}\n", header(), table());
        for event in &self.events {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{event}");
        }
        // Starts in the upper left corner. Each line clears its rest, the end clears the remaining lines: no flicker.
        print(&format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")));
    }
}

/// Ignores errors: a reader that closes the pipe (`| head`) must not leave a cluster behind.
fn print(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
