//! A map from keys to sets of values.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

#[derive(Debug)]
pub(super) struct Multimap<K, V> {
    sets: HashMap<K, BTreeSet<V>>,
}

impl<K: Eq + Hash, V: Ord> Multimap<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.sets.entry(key).or_default().insert(value);
    }

    pub(super) fn remove(&mut self, key: &K, value: &V) {
        if let Some(set) = self.sets.get_mut(key) {
            set.remove(value);
            if set.is_empty() {
                self.sets.remove(key);
            }
        }
    }

    pub(super) fn get<'a>(&'a self, key: &K) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
        self.sets.get(key).into_iter().flatten()
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.sets.contains_key(key)
    }
}

impl<K, V> Default for Multimap<K, V> {
    fn default() -> Self {
        Self { sets: HashMap::new() }
    }
}
