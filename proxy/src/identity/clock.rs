//! What time is it for certificates, and has somebody set the clock?
//!
//! Renewals are due on the monotonic clock, which nobody can set; certificates are valid by the wall clock, which anybody
//! with the right to may put forward or back, and which goes on while a machine is suspended.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

/// Less is a clock that is being slewed.
const LEAST: Duration = Duration::from_secs(1);

/// The wall clock.
#[derive(Clone)]
pub(super) struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// A clock of one's own.
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

/// Tells of each jump of the wall clock within `period`, until nobody is interested any more.
pub(super) async fn watch_jumps(clock: Clock, period: Duration, jumps: watch::Sender<()>) {
    let mut before = (clock.now(), Instant::now());
    loop {
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = jumps.closed() => return,
        }
        let now = (clock.now(), Instant::now());
        let went = now.1 - before.1;
        let expected = before.0.checked_add(went).unwrap_or(before.0);
        let (by, forward) = match now.0.duration_since(expected) {
            Ok(by) => (by, true),
            Err(error) => (error.duration(), false),
        };
        if by >= LEAST {
            tracing::warn!(?by, forward, "the clock was set: certificates are looked at again");
            jumps.send_replace(());
        }
        before = now;
    }
}
