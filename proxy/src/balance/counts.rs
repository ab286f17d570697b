//! Counts what happens to the endpoints of a service and to requests that wait for one.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::metrics::{Histogram, QUEUE};

/// The counters of one balancer.
#[derive(Debug)]
pub struct Counts {
    pub added: AtomicU64,
    pub removed: AtomicU64,
    /// Requests that wait for an endpoint now.
    pub waiting: AtomicU64,
    /// Requests that had to wait.
    pub waited: AtomicU64,
    /// How long they did.
    pub wait_times: Histogram,
    /// How often requests began to fail at once, and stopped doing so.
    pub gate_shut: AtomicU64,
    pub gate_opened: AtomicU64,
    /// Since when requests fail at once, and since when they do not, in milliseconds since 1970; zero if they do not, and
    /// if they do.
    shut_since: AtomicU64,
    open_since: AtomicU64,
}

/// A request that waits for an endpoint; it does until this is dropped.
#[derive(Debug)]
pub struct Waiting<'a> {
    counts: &'a Counts,
    since: Instant,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            added: AtomicU64::default(),
            removed: AtomicU64::default(),
            waiting: AtomicU64::default(),
            waited: AtomicU64::default(),
            wait_times: Histogram::new(&QUEUE),
            gate_shut: AtomicU64::default(),
            gate_opened: AtomicU64::default(),
            shut_since: AtomicU64::default(),
            open_since: AtomicU64::new(now()),
        }
    }
}

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
        let (counter, [begins, ends]) = match shut {
            true => (&self.gate_shut, [&self.shut_since, &self.open_since]),
            false => (&self.gate_opened, [&self.open_since, &self.shut_since]),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        begins.store(now(), Ordering::Relaxed);
        ends.store(0, Ordering::Relaxed);
    }

    /// The time since 1970 at which requests began to fail at once; zero if they do not.
    pub fn shut_since(&self) -> Duration {
        Duration::from_millis(self.shut_since.load(Ordering::Relaxed))
    }

    /// The time since 1970 at which they stopped doing so; zero if they do.
    pub fn open_since(&self) -> Duration {
        Duration::from_millis(self.open_since.load(Ordering::Relaxed))
    }

    /// Counts a request that waits; `None`: `most` requests wait already.
    pub fn wait(&self, most: usize) -> Option<Waiting<'_>> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= most as u64 {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.waited.fetch_add(1, Ordering::Relaxed);
        Some(Waiting { counts: self, since: Instant::now() })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
        self.counts.wait_times.observe(self.since.elapsed());
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
