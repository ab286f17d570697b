//! The Kubernetes objects that weft reads, and the events by which sources report them.
//!
//! Sources (folders of manifests; later the Kubernetes API) turn what they see into [`Event`]s, and the index keeps the
//! objects. Both know this module and neither knows the other.

mod event;
mod key;
mod object;
mod server;

#[cfg(test)]
mod tests;

pub use self::{
    event::Event,
    key::{Key, Kind, Name},
    object::Object,
    server::{Server, ServerSpec},
};
