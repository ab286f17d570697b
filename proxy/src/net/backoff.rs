//! Pauses between attempts: each twice as long as the last, with jitter.

use std::time::Duration;

use rand::Rng;

/// Doubling pauses between a least and a greatest, each varied by a quarter so that those who failed together do not
/// return together.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::rng().random_range(0.75..1.25));
        self.next = (self.next * 2).min(self.max);
        pause
    }

    /// Sleeps for the next pause.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next_pause()).await;
    }

    /// An attempt has succeeded: begin again with the least pause.
    pub fn reset(&mut self) {
        self.next = self.min;
    }

    /// The least pause.
    pub fn min(&self) -> Duration {
        self.min
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_greatest_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(800));
        let mut within = |expected: u64| {
            let pause = backoff.next_pause();
            let expected = Duration::from_millis(expected);
            assert!(pause >= expected.mul_f64(0.74) && pause <= expected.mul_f64(1.26), "{pause:?}");
        };
        [100, 200, 400, 800, 800].into_iter().for_each(&mut within);
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_millis(126));
    }
}
