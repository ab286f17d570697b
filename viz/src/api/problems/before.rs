//! How much of the hour before is known, and how it is called.

use crate::api::{
    App, Ask,
    warnings::{is_too_short, words},
};

/// The seconds that are compared with the hour before.
pub(super) const WINDOW: u64 = 60;
pub(super) const HOUR: u64 = 3600;

/// The seconds of the hour before the last minute of which there are figures.
pub(super) async fn seconds_before(app: &App, ask: &Ask) -> f64 {
    let (all, interval) = (HOUR + WINDOW, app.settings.scrape_interval.as_secs_f64());
    match ask.figures.known_seconds(ask.at, all, interval).await {
        Some(known) if is_too_short(known, all as f64, interval) => (known - WINDOW as f64).max(0.0),
        _ => HOUR as f64,
    }
}

/// "in the hour before", or "in the 6 minutes before" if no more is known.
pub(super) fn when(seconds: f64) -> String {
    if seconds >= HOUR as f64 {
        return "in the hour before".to_owned();
    }
    format!("in the {} before", words(seconds))
}

/// Cut, not rounded: 95.00 % is no problem, so nothing below it is called that.
pub(super) fn percent(ratio: f64) -> String {
    let hundredths = (ratio.clamp(0.0, 1.0) * 10_000.0 + 1e-6).floor();
    format!("{:.2} %", hundredths / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_rate_is_cut_so_that_a_problem_never_reads_as_none() {
        assert_eq!([0.920_59, 0.949_999, 0.0].map(percent), ["92.05 %", "94.99 %", "0.00 %"]);
    }

    #[test]
    fn a_mesh_that_is_younger_than_an_hour_has_no_hour_before() {
        assert_eq!(when(3600.0), "in the hour before");
        assert_eq!([360.0, 40.0].map(when), ["in the 6 minutes before", "in the 40 s before"]);
    }
}
