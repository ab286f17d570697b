//! Connects to destinations: on this node, on another node by mTLS, or outside the mesh.
//!
//! What cannot be done as it must be is an error, never plaintext.
#![forbid(unsafe_code)]

mod application;
mod attempts;
mod connector;
mod endpoint;
mod error;
mod local;
mod mtls;
mod service;
mod stream;
mod transport_header;

use std::{net::SocketAddr, sync::Arc, time::Duration};

pub(crate) use self::attempts::{Attempts, FAILFAST_TIMEOUT};
pub use self::{
    application::connect_application, connector::Connector, error::ConnectError, local::LocalUpstream,
    stream::Stream,
};
use crate::{
    balance::{Endpoint, Picked},
    metrics::{Metered, Tls},
    net::Prefixed,
    tls::Inner,
    workload::Workload,
};

/// A workload wants to connect.
pub struct ConnectRequest<'a> {
    pub source: &'a Arc<Workload>,
    /// The address under which the destination knows the client.
    pub client: SocketAddr,
    /// The address that the application dialled.
    pub original: SocketAddr,
    /// The port opted in to splicing.
    pub may_splice: bool,
    /// What the connection is for; a weft proxy on the other side is told.
    pub inner: Inner,
}

/// A connection to a destination.
pub struct Upstream {
    pub io: Metered<Prefixed<Stream>>,
    pub addr: SocketAddr,
    /// `None`: not one of the mesh's.
    pub endpoint: Option<Endpoint>,
    pub tls: Tls,
    /// The other side is a weft proxy.
    pub to_weft: bool,
    /// Counts as load of the endpoint until it is dropped.
    pub picked: Option<Picked>,
    /// What belongs to a destination on this node.
    pub local: Option<LocalUpstream>,
    /// The connection may be spliced.
    pub splice: bool,
    /// How long connecting took.
    latency: Duration,
}

/// Bounds on the time that connecting may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// How long a connection waits for the workload's first certificate.
    pub certificate: Duration,
}

impl ConnectRequest<'_> {
    /// The client's address of the family in which `to` is reached.
    fn client_for(&self, to: SocketAddr) -> SocketAddr {
        let ip = self.source.address_like(to.ip()).unwrap_or(self.client.ip());
        SocketAddr::new(ip, self.client.port())
    }
}
