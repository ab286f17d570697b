//! Turns what the API server sends into objects of the index, and logs the mistakes in it.

use std::{
    collections::{BTreeSet, HashMap},
    marker::PhantomData,
    sync::Arc,
};

use super::arrival::Arrival;
use crate::{
    model::{Event, Key, Kind, Object},
    settings::{Annotations, BadAnnotation},
};

/// Objects with mistaken annotations that are remembered, so that each mistake is logged once.
const MAX_MISTAKES: usize = 1000;

/// Decodes the objects of one kind.
pub(super) struct Decoder<T> {
    kind: Kind,
    /// The last valid state of objects that are checked.
    valid: HashMap<Key, Arc<Object>>,
    /// The names of the annotations with mistakes that have been logged, by object.
    mistakes: HashMap<Key, BTreeSet<String>>,
    arrival: PhantomData<fn() -> T>,
}

impl<T: Arrival> Decoder<T> {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, valid: HashMap::new(), mistakes: HashMap::new(), arrival: PhantomData }
    }

    /// What the index keeps of an object. One with a mistake stays as it was.
    pub(super) fn decode(&mut self, mut item: T) -> Option<Arc<Object>> {
        let key = item.key(self.kind);
        let refused = item.refuse_annotations();
        match item.object(self.kind) {
            Ok(object) => {
                self.report_annotations(&key, &object, refused);
                Some(Arc::new(object))
            }
            Err(findings) => {
                let before = self.valid.get(&key).cloned();
                let effect = if before.is_some() { "its last valid state applies" } else { "it is ignored" };
                for finding in findings {
                    tracing::error!("{key}: {finding}; {effect}");
                }
                before
            }
        }
    }

    /// A complete list has been decoded: objects that are not on it are forgotten.
    pub(super) fn listed(&mut self, events: &[Event]) {
        self.valid.clear();
        for event in events {
            if let Event::Applied(object) = event {
                self.applied(object);
            }
        }
    }

    /// The index gets this state of the object.
    pub(super) fn applied(&mut self, object: &Arc<Object>) {
        if T::IS_CHECKED {
            self.valid.insert(object.key(), object.clone());
        }
    }

    pub(super) fn deleted(&mut self, key: &Key) {
        self.valid.remove(key);
        self.mistakes.remove(key);
    }

    /// An annotation with a mistake does not count; nobody else says so.
    fn report_annotations(&mut self, key: &Key, object: &Object, refused: Vec<BadAnnotation>) {
        let (_, mut mistakes) = Annotations::parse(object.metadata().annotations.as_ref());
        mistakes.extend(refused);
        let logged = self.mistakes.remove(key).unwrap_or_default();
        for BadAnnotation { name, reason, advice } in &mistakes {
            if !logged.contains(name) {
                tracing::warn!("{key}: annotation {name}: {reason}; {advice}; until then it does not count");
            }
        }
        if !mistakes.is_empty() && self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.insert(key.clone(), mistakes.into_iter().map(|mistake| mistake.name).collect());
        }
    }
}
