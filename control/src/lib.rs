//! weft's control plane: which parts does it have?
#![forbid(unsafe_code)]

pub mod manifests;
mod names;
pub mod settings;
