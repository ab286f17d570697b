//! HTTP/1 and HTTP/2 between workloads, request by request.
//!
//! `server` reads requests from an accepted connection. At the source, `outbound` picks an endpoint for each and sends
//! it on a connection of the `pool`; at the destination, `inbound` authorizes it and passes it to the application. A
//! destination on the same node takes both steps in one proxy. Bodies are passed on frame by frame.
#![forbid(unsafe_code)]

mod access_log;
mod activity;
mod balancers;
mod body;
mod broken;
mod budget;
mod client;
mod client_side;
mod coalesced;
mod connection;
mod context;
mod dial;
mod endpoint;
mod error;
mod failures;
mod frames;
mod guard;
mod headers;
mod http1;
mod http2;
mod inbound;
mod interim;
mod io;
mod kept_body;
mod link;
mod origin;
mod original_protocol;
mod outbound;
mod pool;
mod received;
mod record;
mod replay;
mod reset;
mod route;
mod served_stream;
mod server;
mod settings;
mod silence;
mod slow_reader;
mod tapped;
mod trailers;
mod unread_budget;
mod unsent;
mod upgrade;
mod worst;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tracing::{debug, warn};

use self::{
    client_side::HeadLimits, context::InboundContext, error::ProxyError, inbound::InboundConnection,
    outbound::OutboundConnection, pool::Pools, unread_budget::UnreadBudget,
};
pub use self::{
    connection::Connection,
    io::HttpIo,
    server::HttpVersion,
    worst::{Row, Worst},
};
use crate::{
    authorize::Authorizer,
    capture::Capture,
    discovery::{Destination, Discovery},
    metrics::{Metrics, Tls},
    net::Direction,
    tap::Taps,
    upstream::{Connector, Upstream},
    workload::{Registry, Workload},
};

/// What serving HTTP needs.
pub struct Http {
    capture: Arc<Capture>,
    connector: Arc<Connector>,
    discovery: Arc<Discovery>,
    authorizer: Arc<Authorizer>,
    registry: Arc<Registry>,
    metrics: Metrics,
    pools: Arc<Pools>,
    worst: Arc<Worst>,
    taps: Arc<Taps>,
    unread: Arc<UnreadBudget>,
    head_timeout: Duration,
    silence_timeout: Duration,
}

/// How HTTP is served.
pub struct Config {
    /// The number of worker threads.
    pub workers: usize,
    /// How long the head of a request may take, from its first byte on.
    pub head_timeout: Duration,
    /// How long the other side of an HTTP/1 connection may acknowledge nothing; zero: for ever.
    pub silence_timeout: Duration,
    /// Bytes that the HTTP/2 streams of one workload may hold while nobody reads them.
    pub max_unread: usize,
}

/// A connection that a workload opened, and what it dialled.
pub struct Outgoing {
    pub source: Arc<Workload>,
    /// The address under which the destination knows the client.
    pub client: SocketAddr,
    /// The address that the application dialled.
    pub original: SocketAddr,
    pub destination: Arc<Destination>,
    /// A connection that was opened before the client sent anything.
    pub early: Option<Upstream>,
}

/// A connection to a workload.
pub struct Incoming {
    pub workload: Arc<Workload>,
    pub target: SocketAddr,
    pub client: SocketAddr,
    pub tls: Tls,
    /// The client is a weft proxy.
    pub from_weft: bool,
    /// The application, if it was connected before the client sent anything.
    pub application: Option<tokio::net::TcpStream>,
}

impl Http {
    pub fn new(
        capture: Arc<Capture>,
        connector: Arc<Connector>,
        discovery: Arc<Discovery>,
        authorizer: Arc<Authorizer>,
        registry: Arc<Registry>,
        metrics: Metrics,
        config: &Config,
    ) -> Arc<Self> {
        let pools = Pools::new(config.workers);
        metrics.register_collector(Box::new(balancers::BalancerMetrics(Arc::downgrade(&discovery))));
        metrics.register_collector(Box::new(access_log::DroppedLines));
        Arc::new(Self {
            capture,
            connector,
            discovery,
            authorizer,
            registry,
            taps: Taps::new(&metrics),
            unread: UnreadBudget::new(config.max_unread, metrics.clone()),
            metrics,
            pools,
            worst: Arc::default(),
            head_timeout: config.head_timeout,
            silence_timeout: config.silence_timeout,
        })
    }

    /// The methods and paths that fail.
    pub fn worst(&self) -> Arc<Worst> {
        self.worst.clone()
    }

    /// The taps that see all requests.
    pub fn taps(&self) -> Arc<Taps> {
        self.taps.clone()
    }

    /// Closes idle connections of the pools, until this is dropped.
    pub fn close_idle(&self) -> impl Future<Output = ()> + Send + use<> {
        pool::close_idle(Arc::downgrade(&self.pools))
    }

    /// Resets streams of workloads that leave too much unread, until this is dropped.
    pub fn bound_unread(&self) -> impl Future<Output = ()> + Send + use<> {
        unread_budget::enforce(Arc::downgrade(&self.unread))
    }

    /// Closes the connections of a workload that is not served any more.
    pub fn forget(&self, workload: &Workload) {
        self.pools.close_all_of(workload.netns.cookie());
        self.worst.forget(&workload.key);
    }

    /// Serves a connection that a workload opened.
    pub async fn serve_outbound(
        self: &Arc<Self>,
        io: HttpIo,
        version: HttpVersion,
        outgoing: Outgoing,
        connection: Arc<Connection>,
    ) {
        let (source, client) = (outgoing.source.clone(), outgoing.client);
        let handler = OutboundConnection::new(self, outgoing, connection.clone());
        self.watch_readers(Direction::Outbound, &source, client, (version, &connection));
        let limits = self.head_limits(Direction::Outbound, &source);
        let ended = server::serve(io, version, &connection, limits, handler).await;
        self.log_end(Direction::Outbound, &source, client, &connection, ended);
    }

    /// Serves a connection to a workload.
    pub async fn serve_inbound(
        self: &Arc<Self>,
        io: HttpIo,
        version: HttpVersion,
        incoming: Incoming,
        connection: Arc<Connection>,
    ) {
        let Incoming { workload, target, client, tls, from_weft, application } = incoming;
        let context = InboundContext::new(self, &workload, target, client, tls);
        let handler = InboundConnection::new(context, connection.clone(), from_weft);
        if let Some(application) = application
            && let Err(error) = handler.adopt(application, version).await
        {
            debug!(destination = %workload.key, %error, "the application closed the connection");
        }
        self.watch_readers(Direction::Inbound, &workload, client, (version, &connection));
        let limits = self.head_limits(Direction::Inbound, &workload);
        let ended = server::serve(io, version, &connection, limits, handler).await;
        self.log_end(Direction::Inbound, &workload, client, &connection, ended);
    }

    fn head_limits(&self, direction: Direction, workload: &Workload) -> HeadLimits {
        HeadLimits { timeout: self.head_timeout, requests: workload.requests.clone(), direction }
    }

    /// Counts and logs when a client leaves its responses unread, and bounds what its streams hold.
    fn watch_readers(
        self: &Arc<Self>,
        direction: Direction,
        workload: &Arc<Workload>,
        peer: SocketAddr,
        (version, connection): (HttpVersion, &Arc<Connection>),
    ) {
        if version == HttpVersion::Http2 {
            self.unread.watch(connection.streams(), workload, direction, peer);
        }
        let (http, workload) = (self.clone(), workload.clone());
        connection.on_slow_reader(Box::new(move |waited| {
            http.metrics.http_error(direction, &workload.labels, error::SLOW_READER);
            if workload.log_limiter.allow(error::SLOW_READER) {
                let seconds = waited.as_secs();
                warn!(workload = %workload.key, %direction, %peer, seconds, reason = error::SLOW_READER, "the client left its response unread");
            }
        }));
    }

    /// Counts and logs the end of a connection whose client has broken the protocol, or its bounds.
    fn log_end(
        &self,
        direction: Direction,
        workload: &Workload,
        peer: SocketAddr,
        connection: &Connection,
        ended: hyper::Result<()>,
    ) {
        if let Some(what) = connection.link().flooded() {
            self.metrics.http_error(direction, &workload.labels, error::FLOOD);
            if workload.log_limiter.allow(what) {
                warn!(workload = %workload.key, %direction, %peer, reason = what, "HTTP/2 flood; the connection is closed");
            }
            return;
        }
        if let Some(why) = connection.link().refused() {
            self.metrics.http_error(direction, &workload.labels, "bad request");
            if workload.log_limiter.allow(why) {
                warn!(workload = %workload.key, %direction, %peer, reason = why, "malformed HTTP refused; the connection is closed");
            }
            return;
        }
        let Err(error) = ended else { return };
        if !broken::is_protocol_error(&error) {
            let error = error::with_causes(&error);
            return debug!(workload = %workload.key, %direction, %peer, error, "HTTP connection ended early");
        }
        self.metrics.http_error(direction, &workload.labels, error::PROTOCOL_ERROR);
        if workload.log_limiter.allow(error::PROTOCOL_ERROR) {
            let reason = error::with_causes(&error);
            warn!(workload = %workload.key, %direction, %peer, reason, "the peer broke the protocol; the connection is closed");
        }
    }

    /// Counts and logs an answer of the proxy's own.
    fn log_error(&self, direction: Direction, workload: &Workload, target: SocketAddr, error: &ProxyError) {
        // Denials are counted and logged where they are made.
        let Some(label) = error.label() else { return };
        self.metrics.http_error(direction, &workload.labels, label);
        if workload.log_limiter.allow(label) {
            warn!(workload = %workload.key, %direction, addr = %target, status = error.status().as_u16(), reason = label, %error, "request failed");
        }
    }
}
