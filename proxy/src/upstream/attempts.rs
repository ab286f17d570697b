//! Repeats attempts that nobody answered, for a while.

use std::time::{Duration, Instant};

use super::ConnectError;
use crate::net::Backoff;

/// How long a connection is tried for while nobody answers: a lost SYN is not a refusal. Linkerd's failfast time.
pub(crate) const FAILFAST_TIMEOUT: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The attempts to make one connection.
pub(crate) struct Attempts {
    since: Instant,
    backoff: Backoff,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), backoff: Backoff::new(FIRST_PAUSE, FAILFAST_TIMEOUT) }
    }

    /// Pauses before the next attempt; false if another one is of no use.
    pub(crate) async fn may_retry(&mut self, error: &ConnectError) -> bool {
        error.is_transient() && self.pause().await
    }

    /// Pauses before the next attempt; false after the failfast timeout.
    pub(crate) async fn pause(&mut self) -> bool {
        let left = FAILFAST_TIMEOUT.saturating_sub(self.since.elapsed());
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.backoff.next_pause().min(left)).await;
        true
    }
}
