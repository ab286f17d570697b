//! The objects of the cluster, kept up to date by the events of sources.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use crate::model::{Event, Key, Kind, Name, Object};

#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<Key, Arc<Object>>,
}

/// What a batch of events has changed: each object as it was before the batch, and `None` for a new one.
pub(super) type Changes = BTreeMap<Key, Option<Arc<Object>>>;

impl Store {
    /// Applies one batch of events in order, and returns the objects that are not the same as before.
    pub(super) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Changes {
        let mut applied = BTreeSet::new();
        let mut changes = Changes::new();
        for event in events {
            match event {
                Event::Applied(object) => {
                    let key = object.key();
                    applied.insert(key.clone());
                    let before = self.objects.insert(key.clone(), object);
                    changes.entry(key).or_insert(before);
                }
                Event::Deleted(key) => {
                    applied.remove(&key);
                    self.remove(key, &mut changes);
                }
                Event::Synced(kind) => {
                    let gone: Vec<_> =
                        self.keys(kind).filter(|key| !applied.contains(key)).cloned().collect();
                    for key in gone {
                        self.remove(key, &mut changes);
                    }
                }
            }
        }
        changes.retain(|key, before| match (before, self.objects.get(key)) {
            (Some(before), Some(after)) => !Arc::ptr_eq(before, after) && *before != *after,
            (before, after) => before.is_some() || after.is_some(),
        });
        changes
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key).map(|object| &**object)
    }

    /// The object of a namespaced kind with this name.
    pub(super) fn named(&self, kind: Kind, name: &Name) -> Option<&Object> {
        self.get(&Key { kind, namespace: name.namespace.clone(), name: name.name.clone() })
    }

    /// The objects of a kind in a namespace, ordered by name.
    pub(super) fn in_namespace<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Object)> {
        self.from(kind, namespace).take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
    }

    /// All objects of a kind.
    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Object)> {
        self.from(kind, "").take_while(move |(key, _)| key.kind == kind)
    }

    /// The same, to be kept.
    pub(super) fn shared(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        let start = Key { kind, namespace: String::new(), name: String::new() };
        self.objects.range(start..).take_while(move |(key, _)| key.kind == kind).map(|(_, object)| object)
    }

    fn from<'a>(
        &'a self,
        kind: Kind,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a Key, &'a Object)> + use<'a> {
        let start = Key { kind, namespace: namespace.to_owned(), name: String::new() };
        self.objects.range(start..).map(|(key, object)| (key, &**object))
    }

    fn keys(&self, kind: Kind) -> impl Iterator<Item = &Key> {
        self.of_kind(kind).map(|(key, _)| key)
    }

    fn remove(&mut self, key: Key, changes: &mut Changes) {
        if let Some(before) = self.objects.remove(&key)
            && let Entry::Vacant(entry) = changes.entry(key)
        {
            entry.insert(Some(before));
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::{Namespace, Pod},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;

    fn pod(name: &str, uid: &str) -> Event {
        let metadata = ObjectMeta {
            namespace: Some("demo".into()),
            name: Some(name.into()),
            uid: Some(uid.into()),
            ..ObjectMeta::default()
        };
        Event::Applied(Arc::new(Object::Pod(Box::new(Pod { metadata, ..Pod::default() }))))
    }

    fn namespace(name: &str) -> Event {
        let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
        Event::Applied(Arc::new(Object::Namespace(Box::new(Namespace { metadata, ..Namespace::default() }))))
    }

    fn deleted(name: &str) -> Event {
        Event::Deleted(Key::new(Kind::Pod, Some("demo"), name))
    }

    fn content(store: &Store) -> Vec<String> {
        let line = |(key, object): (&Key, &Arc<Object>)| {
            let uid = object.metadata().uid.as_deref().unwrap_or_default();
            format!("{key} {uid}").trim_end().to_owned()
        };
        store.objects.iter().map(line).collect()
    }

    fn names(changes: &Changes) -> Vec<String> {
        changes.keys().map(Key::to_string).collect()
    }

    #[test]
    fn an_applied_object_is_added_and_then_replaced() {
        let mut store = Store::default();
        let changes = store.apply([pod("a", "1"), pod("b", "1")]);
        assert_eq!(names(&changes), ["Pod demo/a", "Pod demo/b"]);
        assert_eq!(content(&store), ["Pod demo/a 1", "Pod demo/b 1"]);
        let changes = store.apply([pod("a", "2"), pod("b", "1")]);
        let before = changes.values().next().unwrap().as_ref().unwrap();
        assert_eq!(
            (names(&changes), before.metadata().uid.as_deref()),
            (vec!["Pod demo/a".into()], Some("1"))
        );
        assert_eq!(content(&store), ["Pod demo/a 2", "Pod demo/b 1"]);
        assert!(store.apply([pod("a", "2")]).is_empty(), "the same content again is no change");
    }

    #[test]
    fn a_deleted_object_is_removed() {
        let mut store = Store::default();
        store.apply([pod("a", "1"), pod("b", "1")]);
        assert_eq!(names(&store.apply([deleted("a")])), ["Pod demo/a"]);
        assert_eq!(content(&store), ["Pod demo/b 1"]);
        assert!(store.apply([deleted("a")]).is_empty(), "it was removed before");
    }

    #[test]
    fn a_new_list_drops_what_vanished_of_its_kind_only() {
        let mut store = Store::default();
        store.apply([namespace("demo"), pod("a", "1"), pod("b", "1"), Event::Synced(Kind::Pod)]);
        // A change between two lists does not count as part of the second one.
        store.apply([pod("c", "1")]);
        let changes = store.apply([pod("b", "2"), pod("d", "1"), Event::Synced(Kind::Pod)]);
        assert_eq!(names(&changes), ["Pod demo/a", "Pod demo/b", "Pod demo/c", "Pod demo/d"]);
        assert_eq!(content(&store), ["Namespace demo", "Pod demo/b 2", "Pod demo/d 1"]);
        assert!(store.apply([pod("b", "2"), pod("d", "1"), Event::Synced(Kind::Pod)]).is_empty());
        assert_eq!(
            store.apply([Event::Synced(Kind::Pod)]).len(),
            2,
            "an empty list removes all objects of its kind"
        );
        assert_eq!(content(&store), ["Namespace demo"]);
    }

    #[test]
    fn events_of_a_batch_count_in_order() {
        let mut store = Store::default();
        store.apply([pod("a", "1"), deleted("a"), pod("b", "1"), deleted("b"), pod("b", "2")]);
        assert_eq!(content(&store), ["Pod demo/b 2"]);
        let changes = store.apply([deleted("b"), pod("b", "2"), pod("c", "1"), deleted("c")]);
        assert!(changes.is_empty(), "in the end all is as it was: {changes:?}");
    }
}
