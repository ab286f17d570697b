//! How is a destination reached?

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{net::TcpStream, time::timeout};

use crate::{
    app::Shared,
    discovery::EndpointTls,
    local,
    tcp::{self, ConnectError},
    tls::{ClientHello, TlsError, TlsStream},
    workloads::Workload,
};

/// A connection to a destination.
pub(super) enum Dialled {
    Plain(Upstream<TcpStream>),
    Mtls(Upstream<Box<TlsStream<TcpStream>>>),
    Local(local::Arrived),
}

/// A connection through the network.
pub(super) struct Upstream<S> {
    pub(super) stream: S,
    pub(super) latency: Duration,
}

/// Why a destination was not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("{0} has no endpoint")]
    NoEndpoint(String),
    #[error("connecting to {to}: {error}")]
    Connect { to: SocketAddr, error: ConnectError },
    #[error("{0} is not any more what it was when it was tried")]
    Outdated(SocketAddr),
    #[error("no socket for the pod's network namespace: {0}")]
    Socket(std::io::Error),
    #[error("mTLS with {to} as {server}: {error}")]
    Tls { to: SocketAddr, server: String, error: TlsError },
    #[error("the clock was set while mTLS with {0} began")]
    ClockSet(SocketAddr),
    #[error("the source workload has no certificate (see the identity log lines)")]
    NoCertificate,
    #[error(transparent)]
    Local(#[from] local::Refused),
}

impl Failed {
    /// For the metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Failed::NoEndpoint(_) => "no endpoint",
            Failed::Connect { error: ConnectError::Timeout(_), .. } => "connect timeout",
            Failed::Connect { .. } => "connect",
            Failed::Outdated(_) => "endpoint changed",
            Failed::Socket(_) => "i/o",
            Failed::Tls { error, .. } => error.reason(),
            Failed::ClockSet(_) => "clock set",
            Failed::NoCertificate => "identity required",
            Failed::Local(refused) => refused.reason(),
        }
    }

    /// Whether another endpoint would not help, or must not be tried.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            Failed::NoCertificate | Failed::Socket(_) | Failed::Local(local::Refused::Policy { .. })
        )
    }

    /// Whether the same endpoint may answer a moment later: nobody has said no.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Failed::Connect { error, .. } | Failed::Local(local::Refused::Connect { error, .. }) => {
                error.may_pass()
            }
            // No TLS, or its abrupt end: the endpoint's proxy has just died, and it fails open. The control plane is
            // about to say so.
            Failed::Tls { error: TlsError::Closed | TlsError::Io(_) | TlsError::Protocol(_), .. } => true,
            // The clock was set a moment ago, and whose certificate that makes useless is about to get a new one.
            Failed::Tls { error: TlsError::Expired | TlsError::NotYetValid, .. } => true,
            Failed::Outdated(_) | Failed::ClockSet(_) => true,
            _ => false,
        }
    }
}

/// In plaintext, from the source pod's own namespace.
pub(super) async fn plain(source: &Workload, to: SocketAddr) -> Result<Upstream<TcpStream>, Failed> {
    let started = Instant::now();
    let stream = open(source, to).await?;
    Ok(Upstream { stream, latency: started.elapsed() })
}

/// By mTLS with the endpoint's identity.
pub(super) async fn mtls(
    shared: &Arc<Shared>,
    source: &Workload,
    to: SocketAddr,
    peer: &EndpointTls,
) -> Result<Dialled, Failed> {
    let credential = source.credential(shared.limits.certificate).await.ok_or(Failed::NoCertificate)?;
    let error = |error| Failed::Tls { to, server: peer.identity.to_string(), error };
    // Before the connection is opened, which wakes the other proxy: it then finds the hello and need not wait again.
    let hello = ClientHello::new(&credential, &peer.identity, &peer.server_name, to).map_err(error)?;
    let started = Instant::now();
    let stream = open(source, to).await?;
    let latency = started.elapsed();
    match timeout(shared.limits.detect, hello.secure(stream)).await {
        // The other side, which may have waited for a certificate of its own, is about to refuse this one.
        Ok(Ok(_)) if !credential.is_valid_at(SystemTime::now()) => Err(Failed::ClockSet(to)),
        Ok(Ok(stream)) => Ok(Dialled::Mtls(Upstream { stream: Box::new(stream), latency })),
        Ok(Err(reason)) => Err(error(reason)),
        Err(_) => Err(error(TlsError::Timeout)),
    }
}

async fn open(source: &Workload, to: SocketAddr) -> Result<TcpStream, Failed> {
    let socket = source.stock.take(to.is_ipv6()).await.map_err(Failed::Socket)?;
    let limit = source.terms().outbound_connect_timeout;
    tcp::connect(socket, to, limit).await.map_err(|error| Failed::Connect { to, error })
}
