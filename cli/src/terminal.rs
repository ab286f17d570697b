//! Colours and progress, where a person looks at the output.

use std::{
    env,
    io::{IsTerminal, Write, stderr, stdout},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Whether stdout shows colours: it is a terminal, and NO_COLOR is not set.
pub(crate) fn colours() -> bool {
    stdout().is_terminal() && allowed()
}

fn allowed() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var("TERM").is_ok_and(|term| term != "dumb")
}

pub(crate) fn green(text: &str, on: bool) -> String {
    paint("32", text, on)
}

pub(crate) fn yellow(text: &str, on: bool) -> String {
    paint("33", text, on)
}

pub(crate) fn bold(text: &str, on: bool) -> String {
    paint("1", text, on)
}

pub(crate) fn red_if(text: &str, on: bool) -> String {
    paint("31", text, on)
}

/// For stderr.
pub(crate) fn red(text: &str) -> String {
    paint("31", text, stderr().is_terminal() && allowed())
}

/// Whether stderr shows colours.
pub(crate) fn stderr_colours() -> bool {
    stderr().is_terminal() && allowed()
}

fn paint(code: &str, text: &str, on: bool) -> String {
    if on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Writes to stdout. A reader that closes the pipe early ends the command quietly.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Says something on stderr. Nothing is done if nobody reads it: the command goes on.
pub(crate) fn say(text: &str) {
    let _ = writeln!(stderr().lock(), "{text}");
}

/// Rows below a header, in columns as wide as their widest cell.
pub(crate) fn table<const N: usize>(
    header: &[&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let header = header.map(str::to_owned);
    let rows: Vec<_> = [header].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("   ");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

/// Shows on a terminal that the command waits, and for what. Elsewhere it prints nothing.
pub(crate) struct Spinner(ProgressBar);

impl Spinner {
    pub(crate) fn new() -> Self {
        if !stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    pub(crate) fn say(&self, message: impl Into<String>) {
        self.0.set_message(message.into());
    }

    /// Runs `show` while nothing is shown.
    pub(crate) fn hide(&self, show: impl FnOnce()) {
        self.0.set_message("");
        self.0.suspend(show);
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
