//! Attacks from inside the cluster's network by somebody outside the mesh.
//!
//! A TLS client that runs in an unmeshed pod, with the certificates, names and pace that a scenario wants.

pub mod authority;
pub mod certify;
pub mod client;

pub use self::{
    authority::{Authority, Leaf},
    certify::certify,
    client::{Attempt, Client, Verdict},
};
