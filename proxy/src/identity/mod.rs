//! The certificates of this node's identities: requested, renewed, published.
//!
//! For each identity of its workloads the node asks the control plane for a certificate (`Certify`), renews it in
//! time and turns it, with the trust anchors of the moment, into the TLS configurations that connections use.
#![forbid(unsafe_code)]

mod anchors_file;
mod certify;
mod clock;
mod renew;
mod store;
#[cfg(test)]
mod tests;

pub use self::store::{Config, Lease, Store};
