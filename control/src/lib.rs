//! weft's control plane: which parts does it have?
//!
//! Manifests (or, later, the Kubernetes API) feed one index of the cluster; the gRPC services answer from it:
//! `destination` says where a destination leads, `identity` who may have a certificate, `node` which workloads a node
//! has.
#![forbid(unsafe_code)]

mod admin;
mod destination;
mod grpc;
mod identity;
pub mod index;
pub mod manifests;
mod metrics;
mod names;
mod node;
mod run;
pub mod settings;
mod source;
mod state;
#[cfg(test)]
mod testing;

pub use self::{
    identity::{AuthorityError, IssuerError, TokenError},
    run::{Config, Control, Error},
    source::SourceError,
};
