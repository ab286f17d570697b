//! The steps of a connection that a workload opens: discover, detect, connect, forward.

use std::{
    future::pending,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use tracing::debug;

use super::{
    DataPath, Timeouts,
    accepted::Accepted,
    first_bytes::{FirstBytes, first_bytes, guard, speaks_first},
    forward::{CloseReason, Forwarding, ServerFirstObserver, Session, forward},
    hints::Hints,
    refuse,
    served::Served,
};
use crate::{
    bypass::DirectConnections,
    discovery::{Destination, Discovery, SourceRef},
    http::{Connection, Http, HttpIo, HttpVersion, Outgoing},
    metrics::{ConnectionRecord, DetectionResult, Metered, Metrics, Tls, TransportLabels, reason},
    net::{self, AppStream, Direction, Peer, Prefixed},
    splice::{LocalSplice, LocalSpliceGuard, RemoteSplice, Splicing},
    tls::Inner,
    upstream::{ConnectError, ConnectRequest, Connector, LocalUpstream, Stream, Upstream},
};

/// How long a client whose destination cannot be reached has to show that it speaks HTTP, and gets an answer in HTTP.
const HTTP_GRACE_PERIOD: Duration = Duration::from_millis(50);

/// How long requests wait for a connection that was begun while the client was silent.
const EARLY_TIMEOUT: Duration = Duration::from_millis(200);

/// What the outbound steps use.
pub(super) struct Outbound<'a> {
    connector: &'a Connector,
    discovery: &'a Discovery,
    bypass: &'a Arc<DirectConnections>,
    splicing: &'a Arc<Splicing>,
    metrics: &'a Metrics,
    http: &'a Arc<Http>,
    hints: &'a Hints,
    timeouts: Timeouts,
}

impl<'a> Outbound<'a> {
    pub(super) fn of(data_path: &'a DataPath) -> Self {
        Self {
            connector: &data_path.connector,
            discovery: &data_path.discovery,
            bypass: &data_path.bypass,
            splicing: &data_path.splicing,
            metrics: &data_path.metrics,
            http: &data_path.http,
            hints: &data_path.hints,
            timeouts: data_path.timeouts,
        }
    }
}

/// The connection of the application, whose first bytes may have been read.
type Source = Metered<Prefixed<AppStream>>;

/// Serves one connection.
pub(super) async fn serve(data_path: &DataPath, accepted: Accepted, stream: TcpStream) {
    // Boxed: what connecting needs is freed before the connection is forwarded, which may take days.
    let Some(served) = Box::pin(open(data_path, &accepted, stream)).await else { return };
    if let Some(reason) = served.run().await {
        debug!(source = %accepted.workload.key, destination = %accepted.ends.target, %reason, "connection ended early");
    }
}

/// `None`: the connection was refused.
async fn open(data_path: &DataPath, accepted: &Accepted, stream: TcpStream) -> Option<Served> {
    let components = &Outbound::of(data_path);
    let mut source = meter(components.metrics, accepted, stream);
    let upstream = match discover(components, accepted).await {
        None => None,
        Some(destination) if accepted.ends.may_splice || !is_interpreted(&destination) => {
            connect(components, accepted, destination).await
        }
        Some(destination) => {
            let detected = match declared_http(&destination) {
                Some(version) => {
                    components.metrics.declared(&accepted.workload.labels, version == HttpVersion::Http2);
                    Detected::Http(version, None)
                }
                None => detect(components, accepted, &mut source, destination.clone()).await,
            };
            match detected {
                Detected::Http(version, early) => {
                    let outgoing = Outgoing {
                        source: accepted.workload.clone(),
                        client: accepted.ends.client,
                        original: accepted.ends.target,
                        destination,
                        early: early.map(|early| *early),
                    };
                    let connection = data_path.http_connection(accepted);
                    return Some(serve_http(components.http.clone(), source, version, outgoing, connection));
                }
                Detected::Opaque(upstream) => upstream.map(|upstream| *upstream),
            }
        }
    };
    match upstream {
        Some(upstream) => Some(Served::Opaque(start(components, accepted, source, upstream).await)),
        None => {
            source.finish(Some("ECONNREFUSED"));
            net::end_by_reset(source.tcp());
            None
        }
    }
}

/// Whether HTTP is looked for. What leaves the mesh, and what is declared opaque, is forwarded unchanged.
fn is_interpreted(destination: &Destination) -> bool {
    match destination {
        Destination::Service { opaque, .. } => !opaque,
        Destination::Endpoint(endpoint) => !endpoint.opaque,
        Destination::External => false,
    }
}

/// The version of HTTP that the service declares: nothing else is served then, and nobody waits for the first bytes.
fn declared_http(destination: &Destination) -> Option<HttpVersion> {
    match destination {
        Destination::Service { declared, .. } => HttpVersion::declared(*declared),
        Destination::Endpoint(_) | Destination::External => None,
    }
}

fn serve_http(
    http: Arc<Http>,
    source: Source,
    version: HttpVersion,
    outgoing: Outgoing,
    connection: Arc<Connection>,
) -> Served {
    let io = HttpIo::new(Bytes::new(), source);
    Served::Http(Box::pin(async move { http.serve_outbound(io, version, outgoing, connection).await }))
}

/// The outcome of detection.
enum Detected {
    /// With the connection that was opened while the client was silent.
    Http(HttpVersion, Option<Box<Upstream>>),
    /// `None`: the destination was not reached, or the client went away.
    Opaque(Option<Box<Upstream>>),
}

/// Waits for the first bytes of either side. While the client is silent, the destination is connected: it may be the
/// one that speaks first.
async fn detect(
    components: &Outbound<'_>,
    accepted: &Accepted,
    source: &mut Source,
    destination: Arc<Destination>,
) -> Detected {
    let (started, dialled) = (Instant::now(), accepted.ends.target);
    let limit =
        (!accepted.workload.config().outbound_detect_timeout_disabled).then_some(components.timeouts.detect);
    let delay = components.hints.dial_delay(dialled);
    let begun = AtomicBool::new(false);
    let mut upstream: Option<Result<Upstream, ConnectError>> = None;
    let to = destination.clone();
    let mut dialling = pin!(async {
        pause(delay).await;
        begun.store(true, Ordering::Relaxed);
        dial(components, accepted, to, Inner::Unknown).await
    });
    let first = {
        let mut client = pin!(first_bytes(source.io_mut(), limit));
        loop {
            tokio::select! {
                biased;
                first = &mut client => break Some(first),
                result = &mut dialling, if upstream.is_none() => upstream = Some(result),
                () = speaks(upstream.as_mut(), dialled) => break None,
            }
        }
    };
    // What was begun is finished, unless the client has gone. Requests look for endpoints of their own, and do not wait
    // for long.
    if upstream.is_none() && begun.load(Ordering::Relaxed) {
        upstream = match first {
            Some(Err(_)) => None,
            Some(Ok(FirstBytes::Http(_))) => timeout(EARLY_TIMEOUT, dialling).await.ok(),
            _ => Some(dialling.await),
        };
    }
    let spoken = match first {
        Some(Err(error)) => {
            count_detected(components, accepted, DetectionResult::Error, started);
            source.finish(Some(net::errno(&error)));
            return Detected::Opaque(None);
        }
        Some(Ok(spoken)) => spoken,
        None => FirstBytes::Opaque,
    };
    count_detected(components, accepted, spoken.result(), started);
    components.hints.learn(dialled, spoken);
    match spoken {
        FirstBytes::Http(version) => {
            return Detected::Http(version, upstream.and_then(Result::ok).map(Box::new));
        }
        FirstBytes::Unclear => guard(source.io_mut()),
        FirstBytes::Opaque => {}
    }
    let upstream = match upstream {
        Some(result) => counted(components, accepted, result),
        None => connect(components, accepted, destination).await,
    };
    Detected::Opaque(upstream.map(Box::new))
}

/// Gives the client's bytes the chance to arrive before the destination is connected.
async fn pause(delay: Duration) {
    if delay.is_zero() { yield_now().await } else { sleep(delay).await }
}

/// Resolves when the destination has sent something or closed; if it was not reached, or has reset the connection, a
/// little later, so that a client that speaks HTTP can be answered.
async fn speaks(upstream: Option<&mut Result<Upstream, ConnectError>>, dialled: SocketAddr) {
    let Some(upstream) = upstream else { return pending().await };
    if let Ok(connected) = upstream {
        // The end of a TLS handshake may still be waiting to be sent.
        let spoken = match connected.io.flush().await {
            Ok(()) => speaks_first(connected.io.io_mut()).await,
            Err(error) => Err(error),
        };
        match spoken {
            Ok(()) => return,
            Err(error) => *upstream = Err(ConnectError::Connect { to: dialled, failure: error.into() }),
        }
    }
    sleep(HTTP_GRACE_PERIOD).await
}

fn count_detected(components: &Outbound<'_>, accepted: &Accepted, result: DetectionResult, since: Instant) {
    let labels = &accepted.workload.labels;
    components.metrics.detected(Direction::Outbound, labels, result, since.elapsed());
}

/// Counts the accepted connection as open.
fn meter(metrics: &Metrics, accepted: &Accepted, stream: TcpStream) -> Source {
    let labels = TransportLabels {
        direction: Direction::Outbound,
        peer: Peer::Src,
        workload: accepted.workload.labels.clone(),
        tls: Tls::NoIdentity(reason::LOOPBACK),
        target: accepted.ends.target,
        server: None,
        destination: None,
    };
    let counter = metrics.transport(&labels).open();
    Metered::new(Prefixed::new(Bytes::new(), AppStream::new(stream)), ConnectionRecord::new(counter))
}

/// Connects for bytes that are not interpreted.
async fn connect(components: &Outbound<'_>, accepted: &Accepted, to: Arc<Destination>) -> Option<Upstream> {
    let result = dial(components, accepted, to, Inner::Tcp).await;
    counted(components, accepted, result)
}

/// Counts and logs a failure.
fn counted(
    components: &Outbound<'_>,
    accepted: &Accepted,
    result: Result<Upstream, ConnectError>,
) -> Option<Upstream> {
    let (source, original) = (&accepted.workload, accepted.ends.target);
    result
        .inspect_err(|error| refuse::outbound(components.metrics, source, original, error.reason(), error))
        .ok()
}

async fn dial(
    components: &Outbound<'_>,
    accepted: &Accepted,
    to: Arc<Destination>,
    inner: Inner,
) -> Result<Upstream, ConnectError> {
    let request = ConnectRequest {
        source: &accepted.workload,
        client: accepted.ends.client,
        original: accepted.ends.target,
        may_splice: accepted.ends.may_splice,
        inner,
    };
    components.connector.connect(&request, to).await
}

async fn discover(components: &Outbound<'_>, accepted: &Accepted) -> Option<Arc<Destination>> {
    let (source, original) = (&accepted.workload, accepted.ends.target);
    let asker = SourceRef { namespace: source.key.namespace.clone(), pod: source.key.name.clone() };
    match components.discovery.resolve(original, &asker).await {
        Ok(destination) => Some(destination),
        Err(error) if error.is_timeout() && source.config().fail_open => {
            debug!(source = %source.key, destination = %original, %error, "fail mode open: forwarding unchanged");
            Some(Arc::new(Destination::External))
        }
        Err(error) => {
            refuse::outbound(components.metrics, source, original, error.reason(), &error);
            None
        }
    }
}

async fn start(
    components: &Outbound<'_>,
    accepted: &Accepted,
    mut source: Source,
    upstream: Upstream,
) -> Forwarding {
    let Upstream { io, addr, picked, local, splice, .. } = upstream;
    let mut session = Session::new(components.timeouts.idle);
    session.picked = picked;
    let Some(LocalUpstream { workload, mut authorization }) = local else {
        if splice {
            session.remote_splice = RemoteSplice::start(components.splicing, source.tcp()).await;
            if session.remote_splice.is_some() {
                source.io_mut().get_mut().set_in_socket_map();
            }
        }
        return forward(source, io, session, pending());
    };
    source.add(authorization.open_counter(Peer::Src));
    let original = accepted.ends.target;
    // Otherwise nobody listens at the address that was dialled.
    if addr.is_ipv6() == original.is_ipv6() {
        components.bypass.maybe_grant(&accepted.workload, original);
    }
    if splice {
        session.local_splice = splice_locally(components.splicing, &source, &io);
    } else {
        let (bypass, source) = (components.bypass.clone(), accepted.workload.clone());
        session.server_first = Some(ServerFirstObserver::new(move |after| {
            bypass.server_spoke_first(&workload, addr.port(), after);
            bypass.maybe_grant(&source, original);
        }));
    }
    forward(source, io, session, async move {
        let terminated = authorization.pod_token();
        tokio::select! {
            () = authorization.revoked() => CloseReason::PolicyRevoked,
            // The kernel would try to deliver the last bytes to a pod that has gone away for a quarter of an hour.
            () = terminated.cancelled() => CloseReason::PodTerminated,
        }
    })
}

fn splice_locally(
    splicing: &Arc<Splicing>,
    source: &Source,
    destination: &Metered<Prefixed<Stream>>,
) -> Option<LocalSpliceGuard> {
    LocalSplice::start(
        splicing,
        (source.tcp(), source.counters().cloned().collect()),
        (destination.tcp(), destination.counters().cloned().collect()),
    )
}
