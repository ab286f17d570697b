//! A watched destination with its last answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Changes, Config,
    control::ControlPlane,
    destination::Destination,
    published::{LookupState, Published},
    watch::watch_profile,
};

/// A destination and its watch. The watch ends when this is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    published: Arc<Published>,
    used: AtomicU64,
    _watch: AbortOnDropHandle<()>,
}

impl Entry {
    pub(super) fn watch(
        dst: SocketAddr,
        now: u64,
        control: Arc<ControlPlane>,
        config: Arc<Config>,
        changes: Arc<Changes>,
    ) -> Self {
        let published = Arc::new(Published::new(dst, changes));
        let task = control.runtime.spawn(watch_profile(dst, published.clone(), control.clone(), config));
        Self { published, used: AtomicU64::new(now), _watch: AbortOnDropHandle::new(task) }
    }

    pub(super) fn current(&self) -> Option<Arc<Destination>> {
        self.published.current()
    }

    pub(super) fn state(&self) -> watch::Receiver<LookupState> {
        self.published.state()
    }

    pub(super) fn reconnect_now(&self) {
        self.published.reconnect_now();
    }

    pub(super) fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether there is an answer whose watch is failing: it could not be fetched again.
    pub(super) fn is_irreplaceable(&self) -> bool {
        self.published.is_failing() && self.published.has_answer()
    }
}
