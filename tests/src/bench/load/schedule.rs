//! Due times at a fixed rate, independent of how late earlier operations are.

use std::time::{Duration, Instant};

/// Due times at a fixed rate. The latency of a request that is sent late counts from when it was due, so that requests
/// delayed by a stall are not missing from the figures (no coordinated omission).
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    rate: u32,
    count: u64,
    taken: u64,
}

impl Schedule {
    /// `rate` operations per second, for `duration`, the first one at `start`.
    pub fn new(start: Instant, rate: u32, duration: Duration) -> Self {
        let count = (duration.as_secs_f64() * f64::from(rate)).round() as u64;
        Self { start, rate, count, taken: 0 }
    }

    /// When the next operation is due; `None` after the last.
    pub fn next_due(&self) -> Option<Instant> {
        // Computed from the start, so that rounding does not add up.
        let after = || Duration::from_nanos(self.taken * 1_000_000_000 / u64::from(self.rate));
        (self.taken < self.count).then(|| self.start + after())
    }

    /// Takes the next operation if it is due and returns its due time.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next_due().filter(|due| *due <= now)?;
        self.taken += 1;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_do_not_drift() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 3, Duration::from_secs(1000));
        let late = start + Duration::from_secs(2000);
        let mut last = None;
        let mut count = 0;
        while let Some(due) = schedule.take(late) {
            last = Some(due);
            count += 1;
        }
        assert_eq!(count, 3000);
        assert_eq!(last, Some(start + Duration::from_nanos(2999 * 1_000_000_000 / 3)));
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn an_operation_waits_until_it_is_due() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 100, Duration::from_secs(1));
        assert_eq!(schedule.take(start), Some(start));
        assert_eq!(schedule.take(start + Duration::from_millis(9)), None);
        assert_eq!(schedule.next_due(), Some(start + Duration::from_millis(10)));
    }

    #[test]
    fn after_a_pause_all_due_operations_are_returned_with_their_due_times() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1000, Duration::from_secs(1));
        let now = start + Duration::from_millis(5);
        let dues: Vec<_> = std::iter::from_fn(|| schedule.take(now)).collect();
        let expected: Vec<_> = (0..=5).map(|ms| start + Duration::from_millis(ms)).collect();
        assert_eq!(dues, expected);
    }
}
