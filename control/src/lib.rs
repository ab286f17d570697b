//! weft's control plane.
//!
//! A source (folders of manifests, or the Kubernetes API) sends events about objects to one index of the cluster.
//! The gRPC services answer from the index: `destination` the endpoints of destinations, `identity` certificates,
//! `outbound` the protocols of services, `policy` who may connect to a port, `node` the workloads of a node.
#![forbid(unsafe_code)]

mod admin;
mod config;
mod destination;
mod feed;
mod follow;
mod grpc;
mod identity;
pub mod index;
pub mod kubernetes;
mod listen;
pub mod manifests;
mod mesh;
mod metrics;
pub mod model;
mod names;
mod node;
mod observe;
mod outbound;
mod parts;
mod policy;
mod readiness;
mod run;
pub mod settings;
mod state;
mod streams;
#[cfg(test)]
mod testing;
mod validation;
mod webhook;

pub use self::{
    config::{Config, Error, KubernetesConfig, SourceConfig},
    follow::{FollowedSource, Follower},
    grpc::GrpcError,
    identity::{AuthorityConfig, CertificateAuthorityError, IssuerError, TokenError},
    listen::listen,
    manifests::SourceError,
    mesh::Mesh,
    run::Control,
};
