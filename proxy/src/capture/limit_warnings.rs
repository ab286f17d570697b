//! Logs a warning when the programs have reached one of their limits.
//!
//! The programs can only count. Every two seconds the counters of limits are compared with the last values; each that
//! grew gives one log line.

use std::{sync::Weak, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use weft_common::Outcome;

use super::Capture;

const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Checks the counters until `capture` is dropped.
pub async fn warn_of_limits(capture: Weak<Capture>) {
    let counts = |capture: &Capture| -> Vec<u64> {
        let maps = capture.maps.lock();
        Outcome::ALARMING.iter().map(|outcome| maps.outcome(*outcome)).collect()
    };
    // The counters are older than this process.
    let Some(mut before) = capture.upgrade().map(|capture| counts(&capture)) else { return };
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(now) = capture.upgrade().map(|capture| counts(&capture)) else { return };
        for ((outcome, before), now) in Outcome::ALARMING.iter().zip(&before).zip(&now) {
            let times = now.saturating_sub(*before);
            if times > 0 {
                let (_, hook, name) = Outcome::ALL[*outcome as usize];
                tracing::warn!(
                    hook,
                    outcome = name,
                    times,
                    "a bound of the kernel side was reached: see weft_capture_total in docs/metrics.md"
                );
            }
        }
        before = now;
    }
}
