//! Limits how often lines of the same kind are logged for a workload.
//!
//! Clients can cause any number of refusals, which must not flood the log. Of each kind, some lines are logged at once
//! and then one per second. The others are counted and reported in one line. Metrics count every refusal.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// How many lines of one kind may be logged at once.
const BURST: u32 = 20;
/// The time after which another line may follow.
const INTERVAL: Duration = Duration::from_secs(1);

/// Limits the log lines of one workload.
#[derive(Debug, Default)]
pub struct LogLimiter(Mutex<HashMap<&'static str, Kind>>);

#[derive(Debug)]
struct Kind {
    left: u32,
    refilled: Instant,
    suppressed: u64,
}

impl LogLimiter {
    /// Whether a line of this kind may be logged now; if not, it is counted. Kinds are literals, so their number is
    /// limited.
    pub fn allow(&self, kind: &'static str) -> bool {
        self.allow_at(kind, Instant::now())
    }

    /// The number of lines that were suppressed since the last call, by kind.
    pub fn suppressed(&self) -> Vec<(&'static str, u64)> {
        let mut kinds = self.0.lock();
        kinds
            .iter_mut()
            .filter(|(_, kind)| kind.suppressed > 0)
            .map(|(name, kind)| (*name, std::mem::take(&mut kind.suppressed)))
            .collect()
    }

    fn allow_at(&self, kind: &'static str, now: Instant) -> bool {
        let mut kinds = self.0.lock();
        let kind = kinds.entry(kind).or_insert(Kind { left: BURST, refilled: now, suppressed: 0 });
        let due = now.saturating_duration_since(kind.refilled).as_secs() / INTERVAL.as_secs();
        if due > 0 {
            kind.left = kind.left.saturating_add(u32::try_from(due).unwrap_or(BURST)).min(BURST);
            kind.refilled = now;
        }
        if kind.left == 0 {
            kind.suppressed += 1;
            return false;
        }
        kind.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_one_line_per_second() {
        let limiter = LogLimiter::default();
        let start = Instant::now();
        let allowed = |kind, at| (0..100).filter(|_| limiter.allow_at(kind, at)).count();
        assert_eq!(allowed("denied", start), 20);
        assert_eq!(allowed("loadshed", start), 20, "a kind must not use up the limit of another");
        assert_eq!(allowed("denied", start + Duration::from_millis(2500)), 2);
        let mut suppressed = limiter.suppressed();
        suppressed.sort_unstable();
        assert_eq!(suppressed, [("denied", 178), ("loadshed", 80)]);
        assert!(limiter.suppressed().is_empty());
        assert_eq!(allowed("denied", start + Duration::from_secs(3600)), 20);
    }
}
