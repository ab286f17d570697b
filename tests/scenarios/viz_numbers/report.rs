//! The table of what was counted and what was shown.

use std::fmt;

use anyhow::{Result, ensure};

use super::shown::Source;

/// What the clients' count allows, and what was shown.
struct Row {
    what: String,
    from: String,
    counted: f64,
    least: f64,
    most: f64,
    shown: f64,
}

#[derive(Default)]
pub(super) struct Report(Vec<Row>);

/// What a figure is compared with: the clients' count, and what it may be within the scrape window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) counted: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Bounds {
    pub(super) fn exactly(counted: f64) -> Self {
        Self { counted, least: counted, most: counted }
    }
}

impl Report {
    pub(super) fn add(&mut self, what: &str, source: Source, by: &str, bounds: Bounds, shown: f64) {
        let Bounds { counted, least, most } = bounds;
        let from = match source {
            Source::Prometheus => format!("{by}, Prometheus"),
            Source::Proxies => format!("{by}, proxies"),
        };
        self.0.push(Row { what: what.to_owned(), from, counted, least, most, shown });
    }

    /// Fails unless every figure is within its bounds.
    pub(super) fn is_right(&self) -> Result<()> {
        let wrong: Vec<_> = self.0.iter().filter(|row| !row.is_right()).map(ToString::to_string).collect();
        ensure!(
            wrong.is_empty(),
            "{} of {} figures are wrong:\n{}",
            wrong.len(),
            self.0.len(),
            wrong.join("\n")
        );
        Ok(())
    }
}

impl Row {
    fn is_right(&self) -> bool {
        self.shown >= self.least - 1e-6 && self.shown <= self.most + 1e-6
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, from, counted, least, most, shown } = self;
        let mark = if self.is_right() { "" } else { "  WRONG" };
        write!(f, "{what:<44} {from:<24} {counted:>9.2} {shown:>9.2}   {least:.2} to {most:.2}{mark}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<44} {:<24} {:>9} {:>9}   ALLOWED", "FIGURE", "SHOWN BY", "CLIENTS", "SHOWN")?;
        for row in &self.0 {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}
