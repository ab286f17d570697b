//! Detects jumps of the system clock.
//!
//! Renewals are scheduled by the monotonic clock, which cannot be set. Certificates are valid by the system clock,
//! which can be set forward and back and continues while the machine is suspended.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

/// Smaller differences are not jumps: the clock is being slewed.
const MIN_JUMP: Duration = Duration::from_secs(1);

/// The system clock.
#[derive(Clone)]
pub(super) struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    #[cfg(test)]
    pub(super) fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(SystemTime::now))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Notifies of each jump of the system clock within `period`, until all receivers are dropped.
pub(super) async fn watch_jumps(clock: Clock, period: Duration, jumps: watch::Sender<()>) {
    let mut before = (clock.now(), Instant::now());
    loop {
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = jumps.closed() => return,
        }
        let now = (clock.now(), Instant::now());
        let elapsed = now.1 - before.1;
        let expected = before.0.checked_add(elapsed).unwrap_or(before.0);
        let (by, forward) = match now.0.duration_since(expected) {
            Ok(by) => (by, true),
            Err(error) => (error.duration(), false),
        };
        if by >= MIN_JUMP {
            tracing::warn!(?by, forward, "the clock was set; re-checking certificates");
            jumps.send_replace(());
        }
        before = now;
    }
}
