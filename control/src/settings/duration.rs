//! Parses durations as Go, Kubernetes and Linkerd write them.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; write a number with a unit, as in 300ms, 20s, 1m30s or 24h")]
pub struct BadDuration(String);

const UNITS: [&str; 7] = ["ns", "us", "µs", "ms", "s", "m", "h"];

/// Parses `300ms`, `20s`, `1m30s`, `24h` or `1.5h`.
///
/// `humantime` alone accepts more than Go, for example `5 s` and `1day`, and reads `1M` as a month. A manifest with such
/// a value would work with weft and be refused by Linkerd.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let units = text.split(|c: char| c.is_ascii_digit() || c == '.').filter(|unit| !unit.is_empty());
    let parsed = match units.into_iter().all(|unit| UNITS.contains(&unit)) {
        true => humantime::parse_duration(text).ok(),
        false => None,
    };
    parsed.ok_or_else(|| BadDuration(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, expected) in [
            ("300ms", Duration::from_millis(300)),
            ("20s", Duration::from_secs(20)),
            ("1m30s", Duration::from_secs(90)),
            ("24h", Duration::from_secs(86_400)),
            ("1.5h", Duration::from_secs(5_400)),
            ("0.25s", Duration::from_millis(250)),
            ("1h0m0.5s", Duration::from_millis(3_600_500)),
            ("250us", Duration::from_micros(250)),
            ("250µs", Duration::from_micros(250)),
        ] {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in
            ["", "5", "s", "5x", "-5s", "1..5s", "5 s", "ms5", "1M", "1day", "1d", "5sec", "1m 30s", "1ms5"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
