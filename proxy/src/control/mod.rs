//! Reaches the control plane: finds its replicas, connects to them over TLS, and chooses the one to ask.
//!
//! The proxy keeps a session to every replica, by which the replica learns that this node has a proxy and which pods it
//! serves (`lifecycle::Sessions`). One of the replicas that are ready is asked for everything else. When it goes, another
//! one is asked.
#![forbid(unsafe_code)]

mod client;
mod connect;
mod cut;
mod metrics;
mod remember;
mod replicas;
mod resolve;
mod url;

pub use self::{
    client::Client,
    connect::TlsSettings,
    metrics::ControlMetrics,
    replicas::{Replica, Replicas},
    resolve::follow,
    url::ControlUrl,
};

use tonic::Status;

/// A status with all its causes, on one line.
pub(crate) fn describe(status: &Status) -> String {
    let mut text = format!("{:?}", status.code());
    if !status.message().is_empty() {
        text.push_str(": ");
        text.push_str(status.message());
    }
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
