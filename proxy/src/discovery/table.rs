//! The table of watched destinations, which drops the least recently used ones when it is full.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;

use super::{destination::Destination, entry::Entry};

pub(super) struct Table {
    entries: RwLock<HashMap<SocketAddr, Arc<Entry>>>,
    limit: usize,
    /// Until then, the table is not searched again for entries to evict: all were in use.
    full_until: AtomicU64,
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: RwLock::default(), limit: limit.max(1), full_until: AtomicU64::new(0) }
    }

    pub(super) fn get(&self, dst: SocketAddr) -> Option<Arc<Entry>> {
        self.entries.read().get(&dst).cloned()
    }

    /// Returns the entry for `dst`, created if there is none, and the destinations that were evicted for it. `None`:
    /// the table is full and all entries are in use.
    pub(super) fn get_or_insert(
        &self,
        dst: SocketAddr,
        now: u64,
        make: impl FnOnce() -> Entry,
    ) -> Option<(Arc<Entry>, Vec<SocketAddr>)> {
        let mut entries = self.entries.write();
        if let Some(entry) = entries.get(&dst) {
            return Some((entry.clone(), Vec::new()));
        }
        let mut evicted = Vec::new();
        if entries.len() >= self.limit {
            if now < self.full_until.load(Ordering::Relaxed) {
                return None;
            }
            evicted = evict(&mut entries, now, self.limit);
            if entries.len() >= self.limit {
                self.full_until.store(now + FULL_RETRY, Ordering::Relaxed);
                return None;
            }
        }
        let entry = Arc::new(make());
        entries.insert(dst, entry.clone());
        Some((entry, evicted))
    }

    /// Drops and returns what has not been used for `idle` milliseconds, unless it is irreplaceable.
    pub(super) fn drop_idle(&self, now: u64, idle: u64) -> Vec<SocketAddr> {
        let mut entries = self.entries.write();
        let is_idle =
            |entry: &mut Arc<Entry>| now.saturating_sub(entry.used()) >= idle && !entry.is_irreplaceable();
        let dropped = entries.extract_if(|_, entry| is_idle(entry)).map(|(dst, _)| dst).collect();
        if entries.capacity() > 4 * entries.len().max(64) {
            entries.shrink_to_fit();
        }
        dropped
    }

    /// What is known of all destinations.
    pub(super) fn current(&self) -> Vec<Arc<Destination>> {
        self.entries.read().values().filter_map(|entry| entry.current()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.read().len()
    }
}

/// Evicts the least recently used hundredth, so that not every new destination searches the whole table. Irreplaceable
/// entries stay, even if a pod that tries many addresses fills the table while the control plane is away.
fn evict(entries: &mut HashMap<SocketAddr, Arc<Entry>>, now: u64, limit: usize) -> Vec<SocketAddr> {
    let mut idle: Vec<(u64, SocketAddr)> = entries
        .iter()
        .filter(|(_, entry)| !entry.is_irreplaceable())
        .map(|(dst, entry)| (entry.used(), *dst))
        .filter(|(used, _)| now.saturating_sub(*used) >= IN_USE)
        .collect();
    let count = (limit / 100).max(1).min(idle.len());
    if count == 0 {
        return Vec::new();
    }
    idle.select_nth_unstable(count - 1);
    idle.truncate(count);
    for (_, dst) in &idle {
        entries.remove(dst);
    }
    idle.into_iter().map(|(_, dst)| dst).collect()
}

/// Milliseconds since the last use after which an entry may be evicted. A pod that tries many addresses must not be
/// able to evict what others use.
const IN_USE: u64 = 1_000;

/// Milliseconds before a full table is searched again.
const FULL_RETRY: u64 = 100;
