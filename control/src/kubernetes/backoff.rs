//! Waits between attempts: longer after each failure, and different in each replica.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: SHORTEST }
    }

    pub(super) fn reset(&mut self) {
        self.next = SHORTEST;
    }

    /// The next wait: between half of the current length and all of it. The length doubles.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(LONGEST);
        wait
    }

    pub(super) async fn wait(&mut self) {
        let wait = self.next();
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_start_again_after_a_success() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..10).map(|_| backoff.next()).collect();
        assert!(waits[0] >= SHORTEST / 2 && waits[0] <= SHORTEST);
        assert!(waits[2] >= SHORTEST * 2 && waits[2] <= SHORTEST * 4);
        assert!(waits[9] >= LONGEST / 2 && waits[9] <= LONGEST);
        backoff.reset();
        assert!(backoff.next() <= SHORTEST);
    }

    #[test]
    fn replicas_do_not_wait_equally_long() {
        let waits: std::collections::BTreeSet<_> = (0..20).map(|_| Backoff::new().next()).collect();
        assert!(waits.len() > 1);
    }
}
