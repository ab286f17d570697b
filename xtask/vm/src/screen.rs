//! Shows the state of a cluster again and again, on a terminal or in a file.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// How many events stay below the tables.
const EVENTS: usize = 8;
/// How often the tables are printed where they cannot be overwritten.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Shows a header, the tables and the last events.
#[derive(Debug)]
pub struct Screen {
    events: VecDeque<String>,
    terminal: bool,
    last: Option<Instant>,
}

impl Screen {
    pub fn new(header: &str) -> Self {
        let terminal = stdout().is_terminal();
        if !terminal {
            print(header);
        }
        Self { events: VecDeque::new(), terminal, last: None }
    }

    pub fn event(&mut self, text: &str) {
        if !self.terminal {
            return print(&format!("{text}\n"));
        }
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(text.to_owned());
    }

    /// Shows the tables. On a terminal they replace the earlier ones, with the header above and the events below.
    pub fn draw(&mut self, header: impl FnOnce() -> String, tables: impl FnOnce() -> String) {
        if !self.terminal {
            if self.last.is_none_or(|last| last.elapsed() > PLAIN_INTERVAL) {
                self.last = Some(Instant::now());
                print(&format!("{}\n", tables()));
            }
            return;
        }
        let text = fit(&format!("{}\n", header()), &tables(), self.events.make_contiguous(), size());
        // Starts in the upper left corner. Each line clears its rest, the end clears the remaining lines: no flicker.
        print(&format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")));
    }
}

/// Lines and columns of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => (24, 80),
    }
}

/// Leaves out the end of the tables if a terminal cannot show all lines, and the end of lines that are too long: what
/// scrolls or wraps could not be overwritten.
fn fit(header: &str, tables: &str, events: &[String], (lines, columns): (usize, usize)) -> String {
    // The cursor is below the last line.
    let left = lines.saturating_sub(header.lines().count() + events.len() + 2);
    let count = tables.lines().count();
    let (shown, hidden) =
        if count > left { (left.saturating_sub(1), count + 1 - left.max(1)) } else { (count, 0) };
    let more = (hidden > 0).then(|| format!("… {hidden} more lines; a higher terminal shows them"));
    let all = header.lines().chain(tables.lines().take(shown)).chain(more.as_deref());
    let all = all.chain([""]).chain(events.iter().map(String::as_str));
    all.map(|line| format!("{}\n", line.chars().take(columns).collect::<String>())).collect()
}

/// Ignores errors: a reader that closes the pipe (`| head`) must not leave a cluster behind.
fn print(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_cut_to_the_terminal() {
        let events = ["+ pod a".to_owned()];
        let all = fit("head\n\n", "1\n2\n3\n", &events, (24, 80));
        assert_eq!(all, "head\n\n1\n2\n3\n\n+ pod a\n");
        let cut = fit("head\n\n", "1\n2\n3\n", &events, (7, 12));
        assert_eq!(cut, "head\n\n1\n… 2 more lin\n\n+ pod a\n");
        assert!(fit("head\n\n", "1\n2\n", &events, (1, 80)).contains("+ pod a"));
    }
}
