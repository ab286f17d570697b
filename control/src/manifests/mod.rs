//! What do the folders of Kubernetes manifests say, and where are they wrong?
//!
//! [`load`] reads folders once, [`Loader`] reads them again and again and keeps the last good state of each file,
//! [`Watch`] tells when to do so.

mod folder;
mod loader;
mod locate;
mod object;
mod patch;
pub(crate) mod path;
mod problem;
mod server;
mod text;
mod validate;
mod watch;

#[cfg(test)]
mod tests;

pub use self::{
    loader::{Document, Loaded, Loader, load},
    object::{Key, Kind, Object},
    path::FieldPath,
    problem::{Problem, Source},
    server::{Server, ServerSpec},
    text::Ignored,
    watch::{Watch, WatchError},
};
