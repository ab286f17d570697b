//! `weft inject` and `weft uninject`: add workloads to the mesh, or take them out, by annotations in their manifests.

mod add;
mod edit;
mod flags;
mod input;
mod output;
mod remove;
mod report;
mod stream;
mod tree;
mod workload;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    add::{InjectArgs, inject},
    remove::{UninjectArgs, uninject},
};
