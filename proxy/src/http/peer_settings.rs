//! What the other side of an HTTP/2 connection has said in its SETTINGS.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::Waker,
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;
use tokio::time::sleep;

/// How long SETTINGS that allow extended CONNECT are waited for on a new connection. Servers send them first of all.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);
/// How often to look meanwhile.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// The settings that matter for new requests. They may change at any time.
pub(super) struct PeerSettings {
    /// How many streams it takes at once.
    max_streams: AtomicUsize,
    extended_connect: AtomicBool,
    /// The task that updates this. It is not woken by SETTINGS.
    task: AtomicWaker,
    opened: Instant,
}

impl PeerSettings {
    /// Of a connection that was opened just now.
    pub(super) fn new(max_streams: usize) -> Self {
        Self {
            max_streams: AtomicUsize::new(max_streams),
            extended_connect: AtomicBool::new(false),
            task: AtomicWaker::new(),
            opened: Instant::now(),
        }
    }

    /// To be called by the task `task` whenever it is woken.
    pub(super) fn update(&self, max_streams: usize, extended_connect: bool, task: &Waker) {
        self.max_streams.store(max_streams, Ordering::Relaxed);
        // It cannot be taken back (RFC 8441, section 3).
        self.extended_connect.fetch_or(extended_connect, Ordering::Relaxed);
        self.task.register(task);
    }

    pub(super) fn max_streams(&self) -> usize {
        self.max_streams.load(Ordering::Relaxed).max(1)
    }

    /// Whether extended CONNECT is allowed. Waits for the SETTINGS of a new connection.
    pub(super) async fn extended_connect(&self) -> bool {
        let is_allowed = || self.extended_connect.load(Ordering::Relaxed);
        while !is_allowed() {
            self.task.wake();
            sleep(CHECK_INTERVAL).await;
            if self.opened.elapsed() > SETTINGS_TIMEOUT {
                return is_allowed();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn extended_connect_is_waited_for_on_a_new_connection() {
        let settings = PeerSettings::new(0);
        assert_eq!(settings.max_streams(), 1);
        let (allowed, ()) = tokio::join!(settings.extended_connect(), async {
            settings.update(10, true, Waker::noop());
        });
        assert!(allowed);
        assert_eq!(settings.max_streams(), 10);
        settings.update(10, false, Waker::noop());
        assert!(settings.extended_connect().await, "it cannot be taken back");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_say_so_does_not_allow_it() {
        let settings = PeerSettings::new(10);
        assert!(!settings.extended_connect().await);
        assert!(!settings.extended_connect().await);
    }
}
