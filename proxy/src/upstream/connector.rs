//! The connector: from a destination to a connection.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{ConnectError, ConnectRequest, Stream, Timeouts, Upstream, attempts::Attempts};
use crate::{
    authorize::Authorizer,
    capture::Capture,
    discovery::{Destination, Discovery, Endpoint},
    metrics::{ConnectionRecord, Metered, Metrics, OpenConn, Tls, TransportLabels, reason},
    net::{self, Direction, Peer, Prefixed},
    splice::Splicing,
    workload::{Registry, Workload},
};

/// Opens connections for the workloads of this node.
pub struct Connector {
    pub(super) capture: Arc<Capture>,
    pub(super) splicing: Arc<Splicing>,
    pub(super) registry: Arc<Registry>,
    pub(super) discovery: Arc<Discovery>,
    pub(super) authorizer: Arc<Authorizer>,
    pub(super) metrics: Metrics,
    pub(super) timeouts: Timeouts,
}

impl Connector {
    pub fn new(
        capture: Arc<Capture>,
        splicing: Arc<Splicing>,
        registry: Arc<Registry>,
        discovery: Arc<Discovery>,
        authorizer: Arc<Authorizer>,
        metrics: Metrics,
        timeouts: Timeouts,
    ) -> Arc<Self> {
        Arc::new(Self { capture, splicing, registry, discovery, authorizer, metrics, timeouts })
    }

    /// Connects to `destination`, or to what it has become meanwhile.
    ///
    /// # Errors
    /// The last attempt's, after all that is worth trying was tried.
    pub async fn connect(
        &self,
        request: &ConnectRequest<'_>,
        mut destination: Arc<Destination>,
    ) -> Result<Upstream, ConnectError> {
        let mut attempts = Attempts::new();
        loop {
            let result = match &*destination {
                Destination::External => self.plain(request, request.original, None).await,
                Destination::Service { authority, endpoints, .. } => {
                    return self.connect_service(request, authority, endpoints).await;
                }
                Destination::Endpoint(endpoint) => self.connect_pod(request, endpoint).await,
            };
            match result {
                Ok(upstream) => return Ok(upstream),
                Err(error) if attempts.may_retry(&error).await => {}
                Err(error) => return Err(error),
            }
            destination = self.discovery.known(request.original).unwrap_or(destination);
        }
    }

    /// Connects in plaintext, from the source pod's own network namespace.
    pub(super) async fn plain(
        &self,
        request: &ConnectRequest<'_>,
        to: SocketAddr,
        endpoint: Option<&Endpoint>,
    ) -> Result<Upstream, ConnectError> {
        let started = Instant::now();
        let stream = open(request.source, to).await?;
        let tls = Tls::NoIdentity(reason::NOT_PROVIDED_BY_SERVICE_DISCOVERY);
        Ok(self.upstream(request, Stream::Plain(stream), to, endpoint, tls, started))
    }

    pub(super) fn upstream(
        &self,
        request: &ConnectRequest<'_>,
        stream: Stream,
        addr: SocketAddr,
        endpoint: Option<&Endpoint>,
        tls: Tls,
        started: Instant,
    ) -> Upstream {
        let latency = started.elapsed();
        let counter = self.counter(request.source, addr, endpoint, tls.clone());
        let to_weft = stream.is_interpreted_by_weft();
        let io = Metered::new(Prefixed::new(Bytes::new(), stream), ConnectionRecord::new(counter));
        Upstream {
            io,
            addr,
            endpoint: endpoint.cloned(),
            tls,
            to_weft,
            picked: None,
            local: None,
            splice: false,
            latency,
        }
    }

    fn counter(
        &self,
        source: &Workload,
        target: SocketAddr,
        endpoint: Option<&Endpoint>,
        tls: Tls,
    ) -> OpenConn {
        let labels = TransportLabels {
            direction: Direction::Outbound,
            peer: Peer::Dst,
            workload: source.labels.clone(),
            tls,
            target,
            server: None,
            destination: endpoint.map(|endpoint| endpoint.labels.clone()),
        };
        self.metrics.transport(&labels).open()
    }
}

/// Opens a TCP connection from the pod's network namespace.
pub(super) async fn open(source: &Workload, to: SocketAddr) -> Result<tokio::net::TcpStream, ConnectError> {
    let socket = source.sockets.take(to.is_ipv6()).await.map_err(ConnectError::Socket)?;
    let limit = source.config().outbound_connect_timeout;
    net::connect(socket, to, limit).await.map_err(|failure| ConnectError::Connect { to, failure })
}
