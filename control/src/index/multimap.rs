//! A map from keys to sets of values, most of which are small.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// A larger set becomes a tree. The smallest tree has room for eleven values, and most sets have one or two.
const MAX_FEW: usize = 8;

#[derive(Debug)]
pub(super) struct Multimap<K, V> {
    sets: HashMap<K, Set<V>>,
}

#[derive(Debug)]
enum Set<V> {
    /// Sorted.
    Few(Vec<V>),
    Many(BTreeSet<V>),
}

impl<K: Eq + Hash, V: Ord> Multimap<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.sets.entry(key).or_insert(Set::Few(Vec::new())).insert(value);
    }

    pub(super) fn remove(&mut self, key: &K, value: &V) {
        if let Some(set) = self.sets.get_mut(key) {
            set.remove(value);
            if set.is_empty() {
                self.sets.remove(key);
            }
        }
    }

    /// The values, sorted.
    pub(super) fn get<'a>(&'a self, key: &K) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
        let (few, many) = match self.sets.get(key) {
            Some(Set::Few(few)) => (few.as_slice(), None),
            Some(Set::Many(many)) => (&[][..], Some(many)),
            None => (&[][..], None),
        };
        few.iter().chain(many.into_iter().flatten())
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.sets.contains_key(key)
    }
}

impl<V: Ord> Set<V> {
    fn insert(&mut self, value: V) {
        match self {
            Self::Few(few) => {
                let Err(at) = few.binary_search(&value) else { return };
                if few.len() < MAX_FEW {
                    few.reserve_exact(1);
                    few.insert(at, value);
                } else {
                    let mut many: BTreeSet<V> = few.drain(..).collect();
                    many.insert(value);
                    *self = Self::Many(many);
                }
            }
            Self::Many(many) => _ = many.insert(value),
        }
    }

    fn remove(&mut self, value: &V) {
        match self {
            Self::Few(few) => {
                if let Ok(at) = few.binary_search(value) {
                    few.remove(at);
                }
            }
            Self::Many(many) => _ = many.remove(value),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }
}

impl<K, V> Default for Multimap<K, V> {
    fn default() -> Self {
        Self { sets: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_sorted_and_once_whether_there_are_few_or_many() {
        let mut map = Multimap::default();
        for count in [1, MAX_FEW, MAX_FEW + 1, 50] {
            for value in (0..count).rev().chain(0..count) {
                map.insert("key", value);
            }
            assert!(map.get(&"key").copied().eq(0..count), "{count}");
            assert_eq!(map.get(&"other").count(), 0);
        }
        for value in 0..50 {
            assert!(map.contains_key(&"key"));
            map.remove(&"key", &value);
            map.remove(&"key", &value);
        }
        assert!(!map.contains_key(&"key") && map.sets.is_empty());
    }
}
