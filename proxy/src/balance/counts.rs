//! Counts what happens to the endpoints of a service and to requests that wait for one.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

/// The counters of one balancer.
#[derive(Debug, Default)]
pub struct Counts {
    pub added: AtomicU64,
    pub removed: AtomicU64,
    /// Requests that wait for an endpoint now.
    pub waiting: AtomicU64,
    /// Requests that had to wait.
    pub waited: AtomicU64,
    /// How often requests began to fail at once, and stopped doing so.
    pub gate_shut: AtomicU64,
    pub gate_opened: AtomicU64,
}

/// A request that waits for an endpoint; it does until this is dropped.
#[derive(Debug)]
pub struct Waiting<'a>(&'a Counts);

impl Counts {
    pub(super) fn updated(
        &self,
        old: impl Iterator<Item = SocketAddr>,
        new: impl Iterator<Item = SocketAddr>,
    ) {
        let (old, new): (HashSet<_>, HashSet<_>) = (old.collect(), new.collect());
        self.added.fetch_add(new.difference(&old).count() as u64, Ordering::Relaxed);
        self.removed.fetch_add(old.difference(&new).count() as u64, Ordering::Relaxed);
    }

    pub(super) fn gate(&self, shut: bool) {
        let counter = if shut { &self.gate_shut } else { &self.gate_opened };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that waits; `None`: `most` requests wait already.
    pub fn wait(&self, most: usize) -> Option<Waiting<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        // Dropped if there is no room.
        let waiting = Waiting(self);
        if before >= most as u64 {
            return None;
        }
        self.waited.fetch_add(1, Ordering::Relaxed);
        Some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
