//! What can somebody inside the cluster's network try who is not of the mesh?
//!
//! A TLS client of our own, run in an unmeshed pod, with whatever certificates, names and pace a scenario wants.

pub mod authority;
pub mod certify;
pub mod client;

pub use self::{
    authority::{Authority, Leaf},
    certify::certify,
    client::{Attempt, Client, Verdict},
};
