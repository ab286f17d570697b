//! The steps of a connection to a workload: secure, detect, authorize, connect to the application, forward.
//!
//! mTLS for this pod is terminated; other TLS is the application's own; the rest is plaintext. The application sees the
//! client's own address.

use std::{
    fmt::Display,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::TcpStream,
    task::yield_now,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::debug;

use super::{
    DataPath, Timeouts,
    accepted::Accepted,
    detect::{Detected, Detector, Protocol},
    first_bytes::{FirstBytes, application_speaks_first, first_bytes, guard},
    forward::{CloseReason, Forwarding, Session, forward},
    refuse,
    served::Served,
};
use crate::{
    authorize::{Authorization, Authorizer},
    capture::Capture,
    discovery::Discovery,
    http::{HttpIo, HttpVersion, Incoming},
    metrics::{ConnectionRecord, DetectionResult, Metered, Metrics, Tls},
    net::{self, AppStream, ConnectFailure, Direction, OverTcp, Peer, Prefixed},
    policy::{Client, DeclaredProtocol},
    refusal::Reason,
    splice::{RemoteSplice, Splicing},
    tls::{self, Inner, TlsError},
    upstream::connect_application,
};

/// How long a client that policy denies has to show that it speaks HTTP, and gets its denial in HTTP.
const DENIED_TIMEOUT: Duration = Duration::from_secs(1);

/// What the inbound steps use.
pub(super) struct Inbound<'a> {
    capture: &'a Capture,
    discovery: &'a Discovery,
    authorizer: &'a Arc<Authorizer>,
    splicing: &'a Arc<Splicing>,
    metrics: &'a Metrics,
    timeouts: Timeouts,
}

impl<'a> Inbound<'a> {
    pub(super) fn of(data_path: &'a DataPath) -> Self {
        Self {
            capture: &data_path.capture,
            discovery: &data_path.discovery,
            authorizer: &data_path.authorizer,
            splicing: &data_path.splicing,
            metrics: &data_path.metrics,
            timeouts: data_path.timeouts,
        }
    }
}

/// Serves one connection.
pub(super) async fn serve(data_path: &DataPath, accepted: Accepted, stream: TcpStream) {
    // Boxed: what the first steps need is freed before the connection is forwarded, which may take days.
    let Some(served) = Box::pin(open(data_path, &accepted, stream)).await else { return };
    if let Some(reason) = served.run().await {
        debug!(destination = %accepted.workload.key, client = %accepted.ends.client, %reason, "connection ended early");
    }
}

/// `None`: the connection was refused, or the client went away.
async fn open(data_path: &DataPath, accepted: &Accepted, stream: TcpStream) -> Option<Served> {
    let components = &Inbound::of(data_path);
    let deadline = Instant::now() + components.timeouts.detect;
    let detector = Detector {
        capture: components.capture,
        discovery: components.discovery,
        authorizer: components.authorizer,
        workload: &accepted.workload,
        ends: accepted.ends,
        deadline,
    };
    let Detected { protocol, stream, application } = match detector.detect(stream).await {
        Ok(detected) => detected,
        Err(failed) => {
            match failed.reason {
                Some(reason) => refuse(components, accepted, refuse::plaintext(), reason, &failed.error),
                None => count_client_gone(components, accepted, &failed.error),
            }
            net::reset(failed.stream);
            return None;
        }
    };
    let declared = accepted.workload.config().inbound_protocol(accepted.ends.target.port());
    let interprets = !matches!(declared, DeclaredProtocol::Opaque | DeclaredProtocol::Tls);
    match protocol {
        Protocol::Mtls => {
            let (stream, tls, inner) =
                terminate(components, accepted, stream, (deadline, interprets)).await?;
            let stream = Prefixed::new(Bytes::new(), stream);
            let hint = match inner {
                _ if !interprets => Hint::Opaque,
                Some(Inner::Tcp) => Hint::Opaque,
                Some(Inner::Http1) => Hint::Http(HttpVersion::Http1),
                Some(Inner::Http2) => Hint::Http(HttpVersion::Http2),
                // A sidecar may carry HTTP/1 over HTTP/2, so a declared HTTP/1 is no answer here.
                Some(Inner::Unknown) | None => match declared {
                    DeclaredProtocol::Http2 | DeclaredProtocol::Grpc => Hint::Http(HttpVersion::Http2),
                    _ => Hint::Unknown,
                },
            };
            interpret(data_path, accepted, (stream, tls), application, (hint, inner.is_some())).await
        }
        Protocol::Tls { sni } => {
            let tls = Tls::Opaque { sni };
            interpret(data_path, accepted, (stream, tls), application, (Hint::Opaque, false)).await
        }
        Protocol::Nothing if is_tcp_probe(components, accepted) => {
            net::end_orderly(stream.tcp());
            let (workload, target) = (&accepted.workload, accepted.ends.target);
            refuse::count_closed(components.metrics, workload, target, refuse::plaintext_of_node(), None);
            None
        }
        Protocol::Nothing | Protocol::Plain { .. } => {
            let tls = plaintext(components, accepted, &protocol);
            let server_first = matches!(protocol, Protocol::Plain { server_first: true });
            let hint = match HttpVersion::declared(declared) {
                _ if server_first || !interprets => Hint::Opaque,
                Some(version) => Hint::Http(version),
                None => Hint::Unknown,
            };
            interpret(data_path, accepted, (stream, tls), application, (hint, false)).await
        }
    }
}

/// How a connection in plaintext is counted. Health checks are told apart from other clients without an identity. The
/// kernel is asked only where there may be one: the port has a check, or the client says nothing.
fn plaintext(components: &Inbound<'_>, accepted: &Accepted, protocol: &Protocol) -> Tls {
    let (target, client) = (accepted.ends.target, accepted.ends.client);
    let may_be_check = matches!(protocol, Protocol::Nothing)
        || accepted.workload.config().policies.probes().has_port(target.port());
    match may_be_check && components.authorizer.is_from_node(target, client) {
        true => refuse::plaintext_of_node(),
        false => refuse::plaintext(),
    }
}

/// Whether a connection without a byte, which policy denies, is the node's: the kubelet has seen that somebody listens,
/// and that is nothing to complain about.
fn is_tcp_probe(components: &Inbound<'_>, accepted: &Accepted) -> bool {
    let (target, client) = (accepted.ends.target, accepted.ends.client);
    let asking = Client { ip: client.ip(), identity: None };
    !components.authorizer.decide(&accepted.workload, target, asking).admits()
        && components.authorizer.is_from_node(target, client)
}

/// What is known of the protocol within a connection.
enum Hint {
    Opaque,
    Http(HttpVersion),
    Unknown,
}

/// Finds out whether the client speaks HTTP: then policy decides each request. Otherwise it decides the connection.
async fn interpret<S: OverTcp + Send + 'static>(
    data_path: &DataPath,
    accepted: &Accepted,
    (mut stream, tls): (Prefixed<S>, Tls),
    application: Option<TcpStream>,
    (hint, from_weft): (Hint, bool),
) -> Option<Served> {
    let components = &Inbound::of(data_path);
    let (version, application) = match hint {
        Hint::Opaque => (None, application),
        Hint::Http(version) => (Some(version), application),
        Hint::Unknown => detect_http(components, accepted, &mut stream, &tls, application).await?,
    };
    let Some(version) = version else {
        let authorization = authorize(components, accepted, tls.clone(), &stream)?;
        return deliver(components, accepted, (stream, tls), authorization, application)
            .await
            .map(Served::Opaque);
    };
    let (workload, ends) = (accepted.workload.clone(), accepted.ends);
    let server = workload.config().policies.port(ends.target.port()).labels;
    let counter = components.authorizer.open_counter(&workload, ends.target, server, &tls, Peer::Src);
    let io = HttpIo::new(Bytes::new(), Metered::new(stream, ConnectionRecord::new(counter)));
    let incoming =
        Incoming { workload, target: ends.target, client: ends.client, tls, from_weft, application };
    let (http, connection) = (data_path.http.clone(), data_path.http_connection(accepted));
    Some(Served::Http(Box::pin(async move { http.serve_inbound(io, version, incoming, connection).await })))
}

/// Waits for the first bytes of either side. While a client that policy lets in is silent, the application is
/// connected: it may be the one that speaks first.
async fn detect_http<S: OverTcp>(
    components: &Inbound<'_>,
    accepted: &Accepted,
    stream: &mut Prefixed<S>,
    tls: &Tls,
    mut application: Option<TcpStream>,
) -> Option<(Option<HttpVersion>, Option<TcpStream>)> {
    let (started, ends) = (Instant::now(), accepted.ends);
    let workload = &accepted.workload;
    let timeout = (!workload.config().inbound_detect_timeout_disabled).then_some(components.timeouts.detect);
    let client = Client { ip: ends.client.ip(), identity: tls.identity() };
    let admitted = components.authorizer.decide(workload, ends.target, client).admits();
    let begun = AtomicBool::new(false);
    let first = {
        let mut client = pin!(first_bytes(stream, timeout));
        let mut connect = pin!(async {
            yield_now().await;
            begun.store(true, Ordering::Relaxed);
            connect_application(components.capture, workload, ends.target, ends.client, false).await
        });
        let mut may_connect = admitted && application.is_none();
        let first = loop {
            tokio::select! {
                biased;
                first = &mut client => break first,
                connected = &mut connect, if may_connect => {
                    may_connect = false;
                    application = Some(reached(components, accepted, tls, connected)?);
                }
                spoken = application_speaks_first(application.as_ref()) => {
                    reached(components, accepted, tls, spoken.map_err(ConnectFailure::from))?;
                    break Ok(FirstBytes::Opaque);
                }
                // Only requests are answered with a denial.
                () = sleep_until(started + DENIED_TIMEOUT), if !admitted => break Ok(FirstBytes::Opaque),
            }
        };
        // The application must not see a second connection for the same client.
        if may_connect && begun.load(Ordering::Relaxed) {
            application = Some(reached(components, accepted, tls, connect.await)?);
        }
        first
    };
    let count = |result| {
        components.metrics.detected(Direction::Inbound, &workload.labels, result, started.elapsed());
    };
    match first {
        Ok(spoken) => {
            count(spoken.result());
            let version = match spoken {
                FirstBytes::Http(version) => Some(version),
                FirstBytes::Opaque => None,
                FirstBytes::Unclear => {
                    guard(stream);
                    None
                }
            };
            Some((version, application))
        }
        Err(error) => {
            count(DetectionResult::Error);
            refuse::count_closed(
                components.metrics,
                workload,
                ends.target,
                tls.clone(),
                Some(net::errno(&error)),
            );
            None
        }
    }
}

/// `None`: the application was not reached; counted and logged.
fn reached<T>(
    components: &Inbound<'_>,
    accepted: &Accepted,
    tls: &Tls,
    connected: Result<T, ConnectFailure>,
) -> Option<T> {
    connected.inspect_err(|failure| refuse(components, accepted, tls.clone(), failure.reason(), failure)).ok()
}

type Terminated = (tls::TlsStream<Prefixed<TcpStream>>, Tls, Option<Inner>);

/// Terminates mTLS that is meant for this pod.
async fn terminate(
    components: &Inbound<'_>,
    accepted: &Accepted,
    stream: Prefixed<TcpStream>,
    (deadline, interprets): (Instant, bool),
) -> Option<Terminated> {
    let Some(credential) = accepted.workload.credential(components.timeouts.certificate).await else {
        let error = "the workload has no certificate yet (see the identity log lines)";
        refuse(components, accepted, refuse::plaintext(), Reason::NoCertificate, &error);
        return None;
    };
    // A TLS alert must arrive, and nobody takes the end of a handshake for an answer of the application.
    net::end_orderly(stream.tcp());
    let config = if interprets { &credential.server } else { &credential.opaque };
    let handshake = timeout_at(deadline, tls::accept_with(config, &credential, stream)).await;
    match handshake.unwrap_or(Err(TlsError::Timeout)) {
        Ok((stream, peer)) => {
            net::end_by_reset(stream.tcp());
            Some((stream, peer.identity.map_or(Tls::Anonymous, Tls::Established), peer.inner))
        }
        Err(error) => {
            refuse(components, accepted, refuse::plaintext(), Reason::Tls(error.reason()), &error);
            None
        }
    }
}

/// Asks the policy. Denials are counted and logged by the authorizer.
fn authorize(
    components: &Inbound<'_>,
    accepted: &Accepted,
    tls: Tls,
    stream: &impl OverTcp,
) -> Option<Authorization> {
    let (target, client) = (accepted.ends.target, accepted.ends.client);
    match components.authorizer.authorize(&accepted.workload, target, client, tls.clone()) {
        Ok(authorization) => Some(authorization),
        Err(_) => {
            let reason = Reason::DeniedByPolicy;
            components.metrics.refused(Direction::Inbound, &accepted.workload.labels, reason);
            refuse::count_closed(components.metrics, &accepted.workload, target, tls, Some(reason.errno()));
            net::end_by_reset(stream.tcp());
            None
        }
    }
}

/// Connects to the application and starts to forward.
async fn deliver<S: OverTcp + Send + 'static>(
    components: &Inbound<'_>,
    accepted: &Accepted,
    (stream, tls): (S, Tls),
    mut authorization: Authorization,
    application: Option<TcpStream>,
) -> Option<Forwarding> {
    let (workload, ends) = (&accepted.workload, accepted.ends);
    // Only clients of the mesh: others have not opted in.
    let splice = authorization.identity().is_some()
        && application.is_none()
        && components.splicing.allows_from(ends.client.ip(), ends.target);
    let application = match application {
        Some(application) => Ok(application),
        None => connect_application(components.capture, workload, ends.target, ends.client, splice).await,
    };
    let application = match application {
        Ok(application) => application,
        Err(failure) => {
            refuse(components, accepted, tls, failure.reason(), &failure);
            net::end_by_reset(stream.tcp());
            return None;
        }
    };
    let source = Metered::new(stream, ConnectionRecord::new(authorization.open_counter(Peer::Src)));
    let record = ConnectionRecord::new(authorization.open_counter(Peer::Dst));
    let mut destination = Metered::new(AppStream::new(application), record);
    let mut session = Session::new(components.timeouts.idle);
    if splice {
        session.remote_splice = RemoteSplice::start(components.splicing, destination.tcp()).await;
        if session.remote_splice.is_some() {
            destination.io_mut().set_in_socket_map();
        }
    }
    Some(forward(source, destination, session, async move {
        authorization.revoked().await;
        CloseReason::PolicyRevoked
    }))
}

fn refuse(components: &Inbound<'_>, accepted: &Accepted, tls: Tls, reason: Reason, error: &dyn Display) {
    let ends = (accepted.ends.target, accepted.ends.client);
    refuse::inbound(components.metrics, &accepted.workload, ends, tls, reason, error);
}

/// The client broke the connection before it was known what it speaks.
fn count_client_gone(components: &Inbound<'_>, accepted: &Accepted, error: &super::detect::Cause) {
    let (workload, target) = (&accepted.workload, accepted.ends.target);
    refuse::count_closed(components.metrics, workload, target, refuse::plaintext(), error.errno());
}
