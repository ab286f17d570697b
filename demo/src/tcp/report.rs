//! Counts results and prints them once a second.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Latencies kept per second. Further ones are ignored.
const MAX_LATENCIES: usize = 100_000;
/// Error texts and servers kept per second.
const MAX_NAMES: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct Report {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connects: u64,
    bytes: u64,
    latencies: Vec<Duration>,
    servers: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
}

impl Report {
    pub(crate) fn connected(&self) {
        self.with(|counts| counts.connects += 1);
    }

    pub(crate) fn answered(&self, server: &str, latency: Duration, bytes: usize) {
        self.with(|counts| {
            counts.bytes += bytes as u64;
            if counts.latencies.len() < MAX_LATENCIES {
                counts.latencies.push(latency);
            }
            count(&mut counts.servers, server);
        });
    }

    pub(crate) fn failed(&self, reason: &str) {
        self.with(|counts| count(&mut counts.errors, reason));
    }

    /// Returns the results as one line, and starts from zero.
    pub(crate) fn take(&self) -> String {
        let mut counts = self.with(std::mem::take);
        counts.latencies.sort();
        let answered: u64 = counts.servers.values().sum();
        let mut line = format!("{answered} responses, {} bytes, {} connects", counts.bytes, counts.connects);
        if let (Some(half), Some(most)) =
            (quantile(&counts.latencies, 0.5), quantile(&counts.latencies, 0.99))
        {
            // Writing to a String cannot fail.
            let _ = write!(line, ", p50 {:.2} ms, p99 {:.2} ms", millis(half), millis(most));
        }
        for (name, count) in counts.servers.iter().chain(&counts.errors) {
            let _ = write!(line, ", {count} x {name}");
        }
        line
    }

    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        // The counters are valid after a panic too.
        act(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn count(names: &mut BTreeMap<String, u64>, name: &str) {
    if names.len() < MAX_NAMES || names.contains_key(name) {
        *names.entry(name.to_owned()).or_default() += 1;
    }
}

fn quantile(sorted: &[Duration], part: f64) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * part).round() as usize).copied()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_all_results_and_resets_them() {
        let report = Report::default();
        report.connected();
        for milliseconds in 1..=3 {
            report.answered("web-a", Duration::from_millis(milliseconds), 10);
        }
        report.failed("connect: refused");
        assert_eq!(
            report.take(),
            "3 responses, 30 bytes, 1 connects, p50 2.00 ms, p99 3.00 ms, 3 x web-a, 1 x connect: refused"
        );
        assert_eq!(report.take(), "0 responses, 0 bytes, 0 connects");
    }
}
