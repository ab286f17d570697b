//! The messages that weft's processes exchange.
//!
//! Linkerd's proxy API where it has a word for it, weft's own node API where it has none.
#![forbid(unsafe_code)]

pub use linkerd2_proxy_api as linkerd;

/// The workloads of a node (`proto/node.proto`).
pub mod node {
    #![allow(unreachable_pub, unused_qualifications, clippy::all)]
    // After a change of the proto file: WEFT_GENERATE=1 cargo test -p weft-api-codegen
    include!("generated/weft.node.v1.rs");
}
