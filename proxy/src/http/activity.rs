//! Tells whether a connection broke because the other side had closed it while it was idle.
//!
//! Such a close and a request can meet on their way (RFC 9112, section 9.3.1). Then nothing comes back, and the
//! connection breaks at once.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// What was heard on a connection, and when it stopped being idle.
pub(super) struct Activity {
    opened: Instant,
    /// How often bytes were read.
    heard: AtomicU32,
    /// When the last idle time ended, in milliseconds since the connection was opened.
    busy_since: AtomicU64,
    /// What had been heard then.
    heard_then: AtomicU32,
}

/// A connection that breaks later than this after the end of its idle time did not break because of it: the request may
/// be in process. Within a cluster, a close arrives much sooner.
const SOON: Duration = Duration::from_millis(500);

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            heard: AtomicU32::new(0),
            busy_since: AtomicU64::new(0),
            heard_then: AtomicU32::new(0),
        }
    }

    /// Bytes were read.
    pub(super) fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// How often bytes were read.
    pub(super) fn heard(&self) -> u32 {
        self.heard.load(Ordering::Relaxed)
    }

    /// A request ends the idle time.
    pub(super) fn idle_ends(&self) {
        self.heard_then.store(self.heard(), Ordering::Relaxed);
        self.busy_since.store(self.millis(), Ordering::Relaxed);
    }

    /// Whether the connection, which has broken now, was most likely closed while it was idle.
    pub(super) fn broke_while_idle(&self) -> bool {
        let busy = self.millis().saturating_sub(self.busy_since.load(Ordering::Relaxed));
        u128::from(busy) < SOON.as_millis() && self.heard() == self.heard_then.load(Ordering::Relaxed)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_that_breaks_at_once_was_closed_while_it_was_idle() {
        let connection = Activity::new();
        connection.hear();
        connection.idle_ends();
        assert!(connection.broke_while_idle());
    }

    #[test]
    fn a_connection_that_has_answered_something_was_not() {
        let connection = Activity::new();
        connection.idle_ends();
        connection.hear();
        assert!(!connection.broke_while_idle());
    }

    #[test]
    fn a_connection_that_breaks_later_was_not() {
        let mut connection = Activity::new();
        connection.idle_ends();
        connection.opened -= SOON;
        assert!(!connection.broke_while_idle());
    }
}
