//! How is the state of a cluster shown again and again, on a terminal and in a file?

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// How many events stay below the table.
const EVENTS: usize = 8;
/// How often the table is shown where it cannot be overwritten.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Shows what runs (the header), the table and the last events.
pub(crate) struct Screen {
    events: VecDeque<String>,
    terminal: bool,
    last: Option<Instant>,
}

impl Screen {
    /// A screen that begins with `header`.
    pub(crate) fn new(header: &str) -> Self {
        let terminal = stdout().is_terminal();
        if !terminal {
            say(header);
        }
        Self { events: VecDeque::new(), terminal, last: None }
    }

    /// Something happened.
    pub(crate) fn event(&mut self, text: &str) {
        if !self.terminal {
            return say(&format!("{text}\n"));
        }
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(text.to_owned());
    }

    /// Shows the table, on a terminal with the header and in place of the ones before.
    pub(crate) fn draw(&mut self, header: impl FnOnce() -> String, table: impl FnOnce() -> String) {
        if !self.terminal {
            if self.last.is_none_or(|last| last.elapsed() > PLAIN_EVERY) {
                self.last = Some(Instant::now());
                say(&format!("{}\n", table()));
            }
            return;
        }
        let mut text = format!("{}\n{}\n", header(), table());
        for event in &self.events {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{event}");
        }
        // To the upper left corner; each line clears what was in it, the end clears the rest: nothing flickers.
        say(&format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")));
    }
}

/// A reader that went away (`| head`) is no reason to leave a cluster behind.
fn say(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
