//! The gRPC APIs between weft's processes.
//!
//! Linkerd's proxy API for what it covers, and weft's own node API for the rest. With the feature
//! `viz`, the JSON of the dashboard's API too, and with `process` the metrics that every process has.
#![forbid(unsafe_code)]

pub use linkerd2_proxy_api as linkerd;

#[cfg(feature = "process")]
pub mod process;
#[cfg(feature = "secure")]
pub mod secure;
#[cfg(feature = "viz")]
pub mod viz;

pub mod codec;
pub mod grpc;
pub mod tap;

/// The workloads of a node (`proto/node.proto`).
pub mod node {
    #![allow(unreachable_pub, unused_qualifications, clippy::all)]
    // After a change of the proto file: WEFT_GENERATE=1 cargo test -p weft-api-codegen
    include!("generated/weft.node.v1.rs");
}
