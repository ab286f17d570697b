//! What the other side of an HTTP/2 connection has said in its SETTINGS.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// How long SETTINGS that allow extended CONNECT are waited for on a new connection. Servers send them first of all.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings that matter for new requests. They may change at any time.
pub(super) struct PeerSettings {
    /// How many streams it takes at once.
    max_streams: AtomicUsize,
    extended_connect: AtomicBool,
    allowed: Notify,
    opened: Instant,
}

impl PeerSettings {
    /// Of a connection that was opened just now.
    pub(super) fn new(max_streams: usize) -> Self {
        Self {
            max_streams: AtomicUsize::new(max_streams),
            extended_connect: AtomicBool::new(false),
            allowed: Notify::new(),
            opened: Instant::now(),
        }
    }

    pub(super) fn update(&self, max_streams: usize, extended_connect: bool) {
        self.max_streams.store(max_streams, Ordering::Relaxed);
        // It cannot be taken back (RFC 8441, section 3).
        if extended_connect && !self.extended_connect.swap(true, Ordering::Release) {
            self.allowed.notify_waiters();
        }
    }

    pub(super) fn max_streams(&self) -> usize {
        self.max_streams.load(Ordering::Relaxed).max(1)
    }

    /// Whether extended CONNECT is allowed. Waits for the SETTINGS of a new connection.
    pub(super) async fn extended_connect(&self) -> bool {
        // Before the check: it may be allowed in between.
        let allowed = self.allowed.notified();
        if self.extended_connect.load(Ordering::Acquire) {
            return true;
        }
        timeout_at(self.opened + SETTINGS_TIMEOUT, allowed).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn extended_connect_is_waited_for_on_a_new_connection() {
        let settings = PeerSettings::new(0);
        assert_eq!(settings.max_streams(), 1);
        let (allowed, ()) = tokio::join!(settings.extended_connect(), async { settings.update(10, true) });
        assert!(allowed);
        assert_eq!(settings.max_streams(), 10);
        settings.update(10, false);
        assert!(settings.extended_connect().await, "it cannot be taken back");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_say_so_does_not_allow_it() {
        let settings = PeerSettings::new(10);
        assert!(!settings.extended_connect().await);
        // An old connection is not waited for.
        assert_eq!(settings.extended_connect().now_or_never(), Some(false));
    }
}
