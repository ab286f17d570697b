//! Obtains and renews the certificates of this node's identities.
//!
//! For each identity of its workloads, the proxy requests a certificate from the control plane (`Certify`) and renews
//! it in time, or soon after the control plane has another issuer. From the certificate and the current trust anchors it makes the TLS configurations that connections use.
#![forbid(unsafe_code)]

mod anchors_file;
mod certify;
mod clock;
mod issuer;
mod renew;
mod store;
#[cfg(test)]
mod tests;
mod timing;

pub use self::anchors_file::watch_anchors;
pub use self::issuer::CurrentIssuer;
pub use self::store::{Config, Lease, Store};
