//! Stores the series of a metric by their label sets, with a limit on their number.
//!
//! A connection looks its label set up once and then holds its counters, which are atomics. Label sets that no
//! connection holds and that have not changed for a while are dropped, and their number is limited. Clients can cause
//! any number of label sets (by server names, ports, addresses), so a workload may have at most as many as it leaves
//! free for others.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::RwLock;

/// Counters that show whether they have changed.
pub(super) trait Series: Default {
    /// A number that differs after every change.
    fn fingerprint(&self) -> u64;
}

/// A label set that belongs to a workload.
pub(super) trait Owned {
    /// A number that identifies the workload.
    fn owner(&self) -> usize;
}

/// Label sets of one kind, and their counters.
#[derive(Debug)]
pub(super) struct Interner<K, V> {
    table: RwLock<Table<K, V>>,
    limit: usize,
    idle: Duration,
    /// How often a label set found no room.
    overflow: AtomicU64,
}

#[derive(Debug)]
struct Table<K, V> {
    entries: HashMap<Arc<K>, Entry<V>>,
    /// The number of entries by owner.
    owners: HashMap<usize, usize>,
    swept: Instant,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    fingerprint: u64,
    changed: Instant,
}

impl<K: Hash + Eq + Clone + Owned, V: Series> Interner<K, V> {
    pub(super) fn new(limit: usize, idle: Duration) -> Self {
        let table = Table { entries: HashMap::new(), owners: HashMap::new(), swept: Instant::now() };
        Self { table: RwLock::new(table), limit, idle, overflow: AtomicU64::new(0) }
    }

    /// The counters of a label set; `None` if there is no room for another one.
    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.get_at(key, Instant::now())
    }

    fn get_at(&self, key: &K, now: Instant) -> Option<Arc<V>> {
        if let Some(entry) = self.table.read().entries.get(key) {
            return Some(entry.value.clone());
        }
        let mut table = self.table.write();
        // Another thread may have inserted it between the two locks.
        if let Some(entry) = table.entries.get(key) {
            return Some(entry.value.clone());
        }
        let full = table.is_full_for(key, self.limit);
        table.sweep_if_due(if full { SWEEP_WHEN_FULL } else { SWEEP }, self.idle, now);
        if table.is_full_for(key, self.limit) {
            self.overflow.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let value = Arc::new(V::default());
        let entry = Entry { value: value.clone(), fingerprint: value.fingerprint(), changed: now };
        table.entries.insert(Arc::new(key.clone()), entry);
        *table.owners.entry(key.owner()).or_default() += 1;
        Some(value)
    }

    /// All series, for a scrape. The table is not locked while they are encoded.
    pub(super) fn snapshot(&self) -> Vec<(Arc<K>, Arc<V>)> {
        self.table.write().sweep_if_due(SWEEP, self.idle, Instant::now());
        let table = self.table.read();
        table.entries.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }

    pub(super) fn overflow(&self) -> u64 {
        self.overflow.load(Ordering::Relaxed)
    }
}

impl<K: Hash + Eq + Owned, V: Series> Table<K, V> {
    fn is_full_for(&self, key: &K, limit: usize) -> bool {
        let owned = self.owners.get(&key.owner()).copied().unwrap_or(0);
        owned >= limit.saturating_sub(self.entries.len())
    }

    fn sweep_if_due(&mut self, every: Duration, idle: Duration, now: Instant) {
        if now.saturating_duration_since(self.swept) >= every {
            self.sweep(idle, now);
        }
    }

    fn sweep(&mut self, idle: Duration, now: Instant) {
        self.swept = now;
        let owners = &mut self.owners;
        self.entries.retain(|key, entry| {
            // `get_mut` succeeds only if there is no other reference to the counters. While the table is locked, there
            // can be no new one, so nothing can be counted while they are dropped.
            let Some(value) = Arc::get_mut(&mut entry.value) else {
                entry.changed = now;
                return true;
            };
            let fingerprint = value.fingerprint();
            if fingerprint != entry.fingerprint {
                entry.fingerprint = fingerprint;
                entry.changed = now;
            }
            let is_kept = now.saturating_duration_since(entry.changed) < idle;
            if !is_kept && let Some(owned) = owners.get_mut(&key.owner()) {
                *owned -= 1;
            }
            is_kept
        });
        owners.retain(|_, owned| *owned > 0);
    }
}

const SWEEP: Duration = Duration::from_secs(60);
/// A full table is swept more often, but not for every new connection.
const SWEEP_WHEN_FULL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Count(AtomicU64);

    impl Series for Count {
        fn fingerprint(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Numbers with the same tens belong to one workload.
    impl Owned for u32 {
        fn owner(&self) -> usize {
            (*self / 10) as usize
        }
    }

    const IDLE: Duration = Duration::from_secs(600);

    fn interner(limit: usize) -> Interner<u32, Count> {
        Interner::new(limit, IDLE)
    }

    #[test]
    fn one_label_set_has_one_series() {
        let interner = interner(10);
        let first = interner.get(&1).unwrap();
        let second = interner.get(&1).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(interner.snapshot().len(), 1);
    }

    #[test]
    fn held_and_changed_series_are_kept_and_idle_ones_dropped() {
        let interner = interner(10);
        let start = Instant::now();
        let held = interner.get(&1).unwrap();
        drop(interner.get(&2).unwrap());
        interner.get(&3).unwrap().0.fetch_add(1, Ordering::Relaxed);
        let later = start + IDLE / 2;
        interner.table.write().sweep(IDLE, later);
        assert_eq!(interner.snapshot().len(), 3);
        // 2 has not changed since the start; the sweep has seen that 3 changed.
        interner.table.write().sweep(IDLE, start + IDLE + Duration::from_secs(1));
        let mut left: Vec<u32> = interner.snapshot().iter().map(|(key, _)| **key).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 3]);
        drop(held);
        interner.table.write().sweep(IDLE, start + 3 * IDLE);
        assert!(interner.snapshot().is_empty());
    }

    #[test]
    fn a_full_table_counts_overflow_and_drops_idle_series() {
        let interner = interner(4);
        let start = Instant::now();
        drop((interner.get(&1), interner.get(&2)));
        assert!(interner.get(&3).is_none());
        assert_eq!(interner.overflow(), 1);
        assert!(interner.get(&1).is_some(), "a known label set must be found in a full table");
        assert!(interner.get_at(&3, start + 2 * IDLE).is_some());
    }

    #[test]
    fn a_workload_leaves_room_for_others() {
        let interner = interner(40);
        let start = Instant::now();
        let inserted =
            |keys: std::ops::Range<u32>| keys.filter(|key| interner.get_at(key, start).is_some()).count();
        assert_eq!(inserted(0..10) + inserted(10..20), 20);
        assert_eq!(inserted(20..30), 10);
        assert_eq!((inserted(30..40), interner.overflow()), (5, 5));
        assert_eq!(inserted(40..50), 3, "there must always be room for another workload");
        // Dropped series no longer count for their owner.
        interner.table.write().sweep(IDLE, start + 2 * IDLE);
        assert!(interner.table.read().owners.is_empty());
    }

    #[test]
    fn concurrent_sweeps_lose_no_counts() {
        let interner = Arc::new(Interner::<u32, Count>::new(10, Duration::from_secs(3600)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let interner = interner.clone();
                std::thread::spawn(move || {
                    for _ in 0..20_000 {
                        interner.get(&7).unwrap().0.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        while !threads.iter().all(std::thread::JoinHandle::is_finished) {
            interner.table.write().sweep(Duration::from_secs(3600), Instant::now());
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(interner.get(&7).unwrap().0.load(Ordering::Relaxed), 80_000);
    }
}
