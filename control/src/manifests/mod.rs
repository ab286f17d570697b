//! Reads folders of Kubernetes manifests.
//!
//! [`load`] reads folders once. A [`Loader`] reads them again and again and keeps the last valid state of each file.
//! [`ManifestSource`] watches folders and turns what changed into events.

mod document;
mod file;
mod folder;
mod loader;
mod locate;
mod patch;
mod problem;
mod report;
mod source;
mod text;
mod watch;

#[cfg(test)]
mod tests;

pub use self::{
    document::Ignored,
    loader::{Document, Loaded, Loader, load},
    problem::{Location, Problem},
    source::{ManifestSource, SourceError},
    watch::WatchError,
};
