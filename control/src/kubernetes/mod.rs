//! Reads the cluster from the Kubernetes API.
//!
//! A task for each kind lists the objects, then watches them, and sends what it hears to the [`KubernetesSource`],
//! which makes batches of it. What was heard last stays in the index while the API server is away.

mod arrival;
mod backoff;
mod client;
mod decode;
mod failure;
mod resource;
mod rights;
mod source;
mod watch;

pub use self::{
    client::{ClientError, client},
    rights::{Right, rights, watch_rights},
    source::KubernetesSource,
};
