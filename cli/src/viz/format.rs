//! How figures are written, as Linkerd writes them.

use weft_api::viz::{HttpStats, PodCount};

/// Nothing is known, or there was no traffic.
pub(super) const NONE: &str = "-";

/// Cut, not rounded: 100.00% means that nothing failed.
pub(super) fn percent(ratio: Option<f64>) -> String {
    match ratio {
        Some(ratio) if ratio.is_finite() => {
            let hundredths = (ratio.clamp(0.0, 1.0) * 10_000.0 + 1e-6).floor();
            format!("{:.2}%", hundredths / 100.0)
        }
        _ => NONE.to_owned(),
    }
}

pub(super) fn rps(rate: f64) -> String {
    format!("{rate:.1}rps")
}

/// Whole milliseconds; below one, a tenth.
pub(super) fn millis(ms: Option<f64>) -> String {
    match ms {
        Some(ms) if ms.is_finite() && ms > 0.0 && ms < 0.95 => format!("{:.1}ms", ms.max(0.1)),
        Some(ms) if ms.is_finite() => format!("{ms:.0}ms"),
        _ => NONE.to_owned(),
    }
}

pub(super) fn bytes_per_second(rate: f64) -> String {
    format!("{rate:.1}B/s")
}

pub(super) fn count(value: f64) -> String {
    format!("{value:.0}")
}

/// A count of which 0 is nothing.
pub(super) fn count_or_none(value: f64) -> String {
    if value > 0.0 { count(value) } else { NONE.to_owned() }
}

/// `meshed/running`, as in `2/3`.
pub(super) fn meshed(pods: Option<PodCount>) -> String {
    pods.map_or_else(|| NONE.to_owned(), |pods| format!("{}/{}", pods.meshed, pods.running))
}

/// SUCCESS, RPS and the latencies; dashes without requests.
pub(super) fn http(stats: Option<&HttpStats>) -> [String; 5] {
    match stats.filter(|stats| stats.requests > 0.0) {
        None => std::array::from_fn(|_| NONE.to_owned()),
        Some(stats) => [
            percent(stats.success_rate),
            rps(stats.rps),
            millis(stats.latency_ms.p50),
            millis(stats.latency_ms.p95),
            millis(stats.latency_ms.p99),
        ],
    }
}

/// As Go writes durations: `123µs`, `4.5ms`, `1.25s`.
pub(super) fn duration(ms: f64) -> String {
    let micros = ms * 1000.0;
    if !micros.is_finite() || micros < 0.0 {
        NONE.to_owned()
    } else if micros < 999.5 {
        format!("{micros:.0}µs")
    } else if ms < 999.9995 {
        format!("{}ms", trimmed(ms))
    } else {
        format!("{}s", trimmed(ms / 1000.0))
    }
}

/// A duration in three or four characters and its unit: `481µs`, `4.5ms`, `12ms`, `1.3s`.
pub(super) fn brief(ms: f64) -> String {
    if !ms.is_finite() || ms < 0.9995 {
        duration(ms)
    } else if ms < 9.95 {
        format!("{ms:.1}ms")
    } else if ms < 999.5 {
        format!("{ms:.0}ms")
    } else {
        format!("{:.1}s", ms / 1000.0)
    }
}

fn trimmed(value: f64) -> String {
    format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_rate_below_one_is_never_shown_as_100_percent() {
        assert_eq!(percent(Some(0.999_999)), "99.99%");
        assert_eq!(percent(Some(1.0)), "100.00%");
        assert_eq!(percent(Some(0.8750)), "87.50%");
        assert_eq!(percent(Some(0.29)), "29.00%");
        assert_eq!(percent(None), "-");
        assert_eq!(percent(Some(f64::NAN)), "-");
    }

    #[test]
    fn latencies_are_whole_milliseconds_unless_they_are_shorter() {
        assert_eq!(millis(Some(12.4)), "12ms");
        assert_eq!(millis(Some(0.5)), "0.5ms");
        assert_eq!(millis(Some(0.01)), "0.1ms");
        assert_eq!(millis(Some(0.0)), "0ms");
        assert_eq!(millis(None), "-");
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        assert_eq!(duration(0.123), "123µs");
        assert_eq!(duration(4.5), "4.5ms");
        assert_eq!(duration(0.9996), "1ms");
        assert_eq!(duration(1250.0), "1.25s");
        assert_eq!(duration(f64::NAN), "-");
    }

    #[test]
    fn brief_durations_have_no_digit_that_changes_all_the_time() {
        let all = [0.481, 0.9999, 1.502, 9.96, 999.7, 12_345.0].map(brief);
        assert_eq!(all, ["481µs", "1.0ms", "1.5ms", "10ms", "1.0s", "12.3s"].map(str::to_owned));
    }

    #[test]
    fn a_resource_without_requests_has_dashes() {
        assert_eq!(http(Some(&HttpStats::default())), ["-"; 5].map(str::to_owned));
    }
}
