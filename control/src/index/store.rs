//! The objects of the cluster, kept up to date by the events of sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::model::{Event, Key, Object};

#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<Key, Arc<Object>>,
}

impl Store {
    /// Applies one batch of events in order. True if the objects are not the same as before.
    pub(super) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> bool {
        let mut applied = BTreeSet::new();
        let mut is_changed = false;
        for event in events {
            match event {
                Event::Applied(object) => {
                    let key = object.key();
                    applied.insert(key.clone());
                    is_changed |= match self.objects.insert(key, object.clone()) {
                        Some(before) => !Arc::ptr_eq(&before, &object) && before != object,
                        None => true,
                    };
                }
                Event::Deleted(key) => {
                    applied.remove(&key);
                    is_changed |= self.objects.remove(&key).is_some();
                }
                Event::Synced(kind) => {
                    let count = self.objects.len();
                    self.objects.retain(|key, _| key.kind != kind || applied.contains(key));
                    is_changed |= self.objects.len() < count;
                }
            }
        }
        is_changed
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = (&Key, &Object)> {
        self.objects.iter().map(|(key, object)| (key, &**object))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::{Namespace, Pod},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;
    use crate::model::Kind;

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
        let line = |(key, object): (&Key, &Object)| {
            let uid = object.metadata().uid.as_deref().unwrap_or_default();
            format!("{key} {uid}").trim_end().to_owned()
        };
        store.objects().map(line).collect()
    }

    #[test]
    fn an_applied_object_is_added_and_then_replaced() {
        let mut store = Store::default();
        assert!(store.apply([pod("a", "1"), pod("b", "1")]));
        assert_eq!(content(&store), ["Pod demo/a 1", "Pod demo/b 1"]);
        assert!(store.apply([pod("a", "2")]));
        assert_eq!(content(&store), ["Pod demo/a 2", "Pod demo/b 1"]);
        assert!(!store.apply([pod("a", "2")]), "the same content again is no change");
    }

    #[test]
    fn a_deleted_object_is_removed() {
        let mut store = Store::default();
        store.apply([pod("a", "1"), pod("b", "1")]);
        assert!(store.apply([deleted("a")]));
        assert_eq!(content(&store), ["Pod demo/b 1"]);
        assert!(!store.apply([deleted("a")]), "it was removed before");
    }

    #[test]
    fn a_new_list_drops_what_vanished_of_its_kind_only() {
        let mut store = Store::default();
        store.apply([namespace("demo"), pod("a", "1"), pod("b", "1"), Event::Synced(Kind::Pod)]);
        // A change between two lists does not count as part of the second one.
        store.apply([pod("c", "1")]);
        assert!(store.apply([pod("b", "2"), pod("d", "1"), Event::Synced(Kind::Pod)]));
        assert_eq!(content(&store), ["Namespace demo", "Pod demo/b 2", "Pod demo/d 1"]);
        assert!(!store.apply([pod("b", "2"), pod("d", "1"), Event::Synced(Kind::Pod)]));
        assert!(store.apply([Event::Synced(Kind::Pod)]), "an empty list removes all objects of its kind");
        assert_eq!(content(&store), ["Namespace demo"]);
    }

    #[test]
    fn events_of_a_batch_count_in_order() {
        let mut store = Store::default();
        store.apply([pod("a", "1"), deleted("a"), pod("b", "1"), deleted("b"), pod("b", "2")]);
        assert_eq!(content(&store), ["Pod demo/b 2"]);
    }
}
