//! Which messages do weft's processes exchange?
//!
//! Linkerd's proxy API where it has a word for it, weft's own node API where it has none.
#![forbid(unsafe_code)]

pub use linkerd2_proxy_api as linkerd;

/// The workloads of a node (`proto/node.proto`).
pub mod node {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
    tonic::include_proto!("weft.node.v1");
}
