//! The events by which a source reports the objects of the cluster.

use std::sync::Arc;

use super::{
    key::{Key, Kind},
    object::Object,
};

/// A change of the cluster's objects, as a source reports it.
///
/// A source sends its events in batches; readers of the index see the state after a whole batch. It begins with a
/// list: `Applied` for every object, then `Synced` for every kind that it has listed. Later batches hold only what
/// changed. A source that may have missed changes sends a list again.
///
/// For a Kubernetes watch this means: the objects between `Init` and `InitDone` become one batch that ends with `Synced`
/// of the watched kind; every `Apply` and `Delete` after that becomes an `Applied` or `Deleted`.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The object exists and has this content; it replaces the object with the same key.
    Applied(Arc<Object>),
    /// The object no longer exists.
    Deleted(Key),
    /// This batch has applied all objects of this kind: those that it has not applied no longer exist.
    ///
    /// It names a kind because a Kubernetes watch lists one kind and knows nothing about the others.
    Synced(Kind),
}
