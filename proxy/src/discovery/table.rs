//! Which destinations are kept, and which go when there are too many?

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;

use super::entry::Entry;

/// The destinations that are watched.
pub(super) struct Table {
    entries: RwLock<HashMap<SocketAddr, Arc<Entry>>>,
    limit: usize,
    /// All were in use a moment ago: no need to look through them for each newcomer.
    full_until: AtomicU64,
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: RwLock::default(), limit: limit.max(1), full_until: AtomicU64::new(0) }
    }

    pub(super) fn get(&self, dst: SocketAddr) -> Option<Arc<Entry>> {
        self.entries.read().get(&dst).cloned()
    }

    /// The entry for `dst`, made if there is none, and which were dropped for it. `None`: there is no room,
    /// all are in use.
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
                self.full_until.store(now + FULL, Ordering::Relaxed);
                return None;
            }
        }
        let entry = Arc::new(make());
        entries.insert(dst, entry.clone());
        Some((entry, evicted))
    }

    /// Drops what has not been used for `idle` milliseconds, unless it could not be had again: which those are.
    pub(super) fn drop_idle(&self, now: u64, idle: u64) -> Vec<SocketAddr> {
        let mut entries = self.entries.write();
        let goes =
            |entry: &mut Arc<Entry>| now.saturating_sub(entry.used()) >= idle && !entry.is_irreplaceable();
        let gone = entries.extract_if(|_, entry| goes(entry)).map(|(dst, _)| dst).collect();
        if entries.capacity() > 4 * entries.len().max(64) {
            entries.shrink_to_fit();
        }
        gone
    }

    pub(super) fn len(&self) -> usize {
        self.entries.read().len()
    }
}

/// Drops the hundredth that was used least recently: one by one, each newcomer would look through all. What could not be
/// had again stays, also where a pod that tries all addresses fills the table while the control plane is away.
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

/// Milliseconds after which an entry may make room for another one. A pod that tries all addresses of the world
/// must not be able to turn out what others use.
const IN_USE: u64 = 1_000;

/// Milliseconds before a full table is looked through again.
const FULL: u64 = 100;
