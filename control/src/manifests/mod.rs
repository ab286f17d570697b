//! Reads folders of Kubernetes manifests.
//!
//! [`load`] reads folders once. A [`Loader`] reads them again and again and keeps the last valid state of each file.
//! [`ManifestSource`] watches folders and turns what changed into events.

mod checks;
mod decode;
mod document;
mod file;
mod folder;
mod loader;
mod locate;
mod patch;
mod path;
mod policies;
mod problem;
mod report;
mod source;
mod text;
mod validate;
mod watch;

#[cfg(test)]
mod tests;

pub use self::{
    decode::object as read_object,
    document::Ignored,
    loader::{Document, Loaded, Loader, load},
    path::FieldPath,
    problem::{Finding, Location, Problem},
    source::{ManifestSource, SourceError},
    watch::WatchError,
};
