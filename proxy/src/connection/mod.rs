//! What happens to one connection, step by step: accept, identify, detect, discover, authorize, connect, forward, record.
//!
//! [`outbound`] has the steps for connections that a workload opens, [`inbound`] those for connections to a workload.
#![forbid(unsafe_code)]

mod accept;
mod accepted;
mod detect;
mod first_bytes;
mod forward;
mod hints;
mod identify;
mod inbound;
mod outbound;
mod refuse;
mod served;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::accepted::Accepted;
pub use self::{accept::Acceptors, hints::Hints};
use crate::{
    authorize::Authorizer,
    bypass::DirectConnections,
    capture::Capture,
    discovery::Discovery,
    http::{Connection, Http},
    metrics::Metrics,
    splice::Splicing,
    threads::WorkerThreads,
    upstream::Connector,
};

/// The components of the data path. Only [`accept`] sees them all; the steps take what they need.
pub struct DataPath {
    pub http: Arc<Http>,
    pub capture: Arc<Capture>,
    pub splicing: Arc<Splicing>,
    pub connector: Arc<Connector>,
    pub discovery: Arc<Discovery>,
    pub authorizer: Arc<Authorizer>,
    pub bypass: Arc<DirectConnections>,
    pub hints: Hints,
    pub metrics: Metrics,
    pub threads: WorkerThreads,
    pub timeouts: Timeouts,
    /// The connections that are open.
    pub connections: TaskTracker,
    /// Cancelled when no new connections are to be accepted.
    pub draining: CancellationToken,
}

impl DataPath {
    /// For the requests on a connection.
    fn http_connection(&self, accepted: &Accepted) -> Arc<Connection> {
        Connection::new(
            self.connections.clone(),
            accepted.workload.terminated.clone(),
            self.draining.clone(),
            accepted.permit(),
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long a client may take to show what it speaks, handshake included.
    pub detect: Duration,
    /// How long a connection waits for the workload's first certificate.
    pub certificate: Duration,
    /// How long a connection may be without a byte in either direction; zero means for ever.
    pub idle: Duration,
}
