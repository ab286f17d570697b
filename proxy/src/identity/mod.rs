//! Which identities does this node hold, and how do they stay fresh?
//!
//! For each identity of its workloads the node asks the control plane for a certificate (`Certify`), renews it in
//! time and turns it, with the trust anchors of the moment, into the TLS configurations that connections use.
#![forbid(unsafe_code)]

mod anchors;
mod certify;
mod clock;
mod credential;
mod name;
mod renew;
mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use self::{
    anchors::{Anchors, AnchorsError},
    credential::{Credential, CredentialError},
    name::{Identity, InvalidIdentity},
    store::{Config, Lease, Store},
};
pub use crate::metrics::IdentityMetrics;
