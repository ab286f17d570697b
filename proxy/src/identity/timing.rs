//! When certificates are renewed, and failures retried.

use std::time::Duration;

use super::clock::Clock;

/// The times of renewals. Tests shorten them.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    pub(super) renew_min: Duration,
    pub(super) renew_max: Duration,
    pub(super) retry_min: Duration,
    pub(super) retry_max: Duration,
    /// Certificates of another issuer are replaced within this time.
    pub(super) replace_min: Duration,
    /// The longest pause before another attempt, if the new one is of another issuer, too.
    pub(super) replace_max: Duration,
    pub(super) clock: Clock,
    pub(super) clock_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            renew_min: Duration::from_secs(10),
            renew_max: Duration::from_secs(24 * 60 * 60),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(10),
            replace_min: Duration::from_secs(20),
            replace_max: Duration::from_secs(300),
            clock: Clock::default(),
            clock_period: Duration::from_secs(1),
        }
    }
}

impl Timing {
    /// After 70 % of the remaining lifetime.
    pub(super) fn renew_after(&self, remaining: Duration) -> Duration {
        remaining.mul_f64(0.7).clamp(self.renew_min, self.renew_max)
    }

    /// Doubles with each failure. The pause is a random value between half of that and all of it, so that identities
    /// and nodes do not all retry at once.
    pub(super) fn retry_after(&self, failures: u32) -> Duration {
        let full = self.retry_min.saturating_mul(1 << failures.min(16)).min(self.retry_max);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// A random moment, so that not all identities and nodes ask at once. Later with each answer that is of another
    /// issuer, too: replicas of the control plane learn of a new one at different times.
    pub(super) fn replace_after(&self, attempts: u32) -> Duration {
        let full = self.replace_min.saturating_mul(1 << attempts.min(16)).min(self.replace_max);
        let least = if attempts == 0 { 0.0 } else { 0.5 };
        full.mul_f64(rand::random_range(least..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_after_seventy_percent_within_bounds() {
        let timing = Timing::default();
        let after = |s| timing.renew_after(Duration::from_secs(s)).as_secs();
        assert_eq!(after(100), 70);
        assert_eq!(after(5), 10);
        assert_eq!(after(0), 10);
        assert_eq!(after(86_400), 60_480);
        assert_eq!(after(86_400 * 30), 86_400);
    }

    #[test]
    fn retries_slow_down_and_are_bounded() {
        let timing = Timing::default();
        for failures in 0..100 {
            let full = (200_u128 << failures.min(16)).min(10_000);
            let wait = timing.retry_after(failures).as_millis();
            assert!((full / 2..=full).contains(&wait), "{failures}: {wait}");
        }
    }

    #[test]
    fn replacements_are_spread_and_slow_down() {
        let timing = Timing::default();
        let mut first: Vec<_> = (0..50).map(|_| timing.replace_after(0).as_secs_f64()).collect();
        first.sort_by(f64::total_cmp);
        assert!(first[0] < 10.0 && first[49] > 10.0 && first[49] <= 20.0, "{first:?}");
        for attempts in 1..100 {
            let full = (20_000_u128 << attempts.min(16)).min(300_000);
            let wait = timing.replace_after(attempts).as_millis();
            assert!((full / 2..=full).contains(&wait), "{attempts}: {wait}");
        }
    }
}
