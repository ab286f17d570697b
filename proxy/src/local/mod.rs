//! How does a connection reach a workload of the same node?
//!
//! Straight to its application, from inside its namespace: no TLS, both identities known from the kernel. The
//! same policy decides as for connections from other nodes, and both workloads count it.
#![forbid(unsafe_code)]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

use crate::{
    app::Shared,
    inbound::{self, Admission},
    metrics::{OpenConn, Tls},
    policy::{Client, Reason},
    tcp::ConnectError,
    workloads::Workload,
};

/// A connection that comes to `workload`.
pub struct Visit<'a> {
    /// What connections share.
    pub shared: &'a Arc<Shared>,
    /// Who comes.
    pub source: &'a Workload,
    /// The address that it goes by.
    pub client: SocketAddr,
    /// To whom.
    pub workload: &'a Arc<Workload>,
    /// The application's address.
    pub target: SocketAddr,
    /// The connection may be spliced.
    pub splice: bool,
}

/// A connection to the application.
pub struct Arrived {
    stream: TcpStream,
    latency: Duration,
    admission: Admission,
}

/// Why it did not come in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Policy says so.
    #[error("{workload} port {port} refuses {client}: {reason}")]
    Policy {
        /// Who refuses.
        workload: String,
        /// Where.
        port: u16,
        /// Whom.
        client: String,
        /// Why.
        reason: Reason,
    },
    /// The application is not there.
    #[error("the application at {to}: {error}")]
    Connect {
        /// Where it should listen.
        to: SocketAddr,
        /// What happened.
        error: ConnectError,
    },
}

impl Refused {
    /// For the metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Refused::Policy { .. } => "unauthorized",
            Refused::Connect { error: ConnectError::Timeout(_), .. } => "connect timeout",
            Refused::Connect { .. } => "connect",
        }
    }
}

impl Visit<'_> {
    /// Asks for admission and connects.
    pub async fn dial(&self) -> Result<Arrived, Refused> {
        let started = Instant::now();
        let identity = &self.source.identity;
        let client = Client { ip: self.client.ip(), identity: Some(identity) };
        let tls = Tls::Local(identity.clone());
        let admission =
            inbound::admit(self.shared, self.workload, self.target, client, tls).map_err(|reason| {
                Refused::Policy {
                    workload: self.workload.key.to_string(),
                    port: self.target.port(),
                    client: identity.to_string(),
                    reason,
                }
            })?;
        let stream = inbound::application(self.shared, self.workload, self.target, self.client, self.splice)
            .await
            .map_err(|error| Refused::Connect { to: self.target, error })?;
        Ok(Arrived { stream, latency: started.elapsed(), admission })
    }
}

impl Arrived {
    /// Counts the connection for the workload that it came to: the leg to the source, and to the application.
    pub fn open(&self) -> (OpenConn, OpenConn) {
        self.admission.open()
    }

    /// How long it took.
    pub fn latency(&self) -> Duration {
        self.latency
    }

    /// The connection to the application, and by whose leave.
    pub fn into_parts(self) -> (TcpStream, Admission) {
        (self.stream, self.admission)
    }
}
