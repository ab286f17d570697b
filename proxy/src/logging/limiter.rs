//! How often may the same thing be logged?
//!
//! Refusals are brought about by others, as often as they like, and a log that they fill tells nothing any more. Of
//! each kind a workload gets some lines at once and then one a second; the rest is counted and told in one line.
//! Metrics count every single one.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Lines of one kind at once.
const BURST: u32 = 20;
/// After which another one may follow.
const EVERY: Duration = Duration::from_secs(1);

/// What one workload has been logged about.
#[derive(Debug, Default)]
pub struct LogLimiter(Mutex<HashMap<&'static str, Kind>>);

#[derive(Debug)]
struct Kind {
    left: u32,
    refilled: Instant,
    suppressed: u64,
}

impl LogLimiter {
    /// Whether a line of this kind may be logged now; if not, it is counted. Kinds are words of the program, so
    /// that they are bounded.
    pub fn allow(&self, kind: &'static str) -> bool {
        self.allow_at(kind, Instant::now())
    }

    /// Kinds of which lines were suppressed since the last call, and how many.
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
        let due = now.saturating_duration_since(kind.refilled).as_secs() / EVERY.as_secs();
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
    fn a_burst_then_one_a_second() {
        let limiter = LogLimiter::default();
        let start = Instant::now();
        let allowed = |kind, at| (0..100).filter(|_| limiter.allow_at(kind, at)).count();
        assert_eq!(allowed("denied", start), 20);
        assert_eq!(allowed("loadshed", start), 20, "kinds do not silence each other");
        assert_eq!(allowed("denied", start + Duration::from_millis(2500)), 2);
        let mut suppressed = limiter.suppressed();
        suppressed.sort_unstable();
        assert_eq!(suppressed, [("denied", 178), ("loadshed", 80)]);
        assert!(limiter.suppressed().is_empty());
        assert_eq!(allowed("denied", start + Duration::from_secs(3600)), 20);
    }
}
