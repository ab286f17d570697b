//! Refuses connections: counted, logged with the reason, reset.

use std::{fmt, net::SocketAddr};

use tracing::warn;

use crate::{
    metrics::{Metrics, Tls, TransportLabels, reason},
    net::{Direction, Peer},
    refusal::Reason,
    workload::Workload,
};

/// A connection from `workload` to `original` cannot be served.
pub(super) fn outbound(
    metrics: &Metrics,
    workload: &Workload,
    original: SocketAddr,
    reason: Reason,
    error: &dyn fmt::Display,
) {
    metrics.refused(Direction::Outbound, &workload.labels, reason);
    if workload.log_limiter.allow(reason.as_str()) {
        warn!(source = %workload.key, identity = %workload.identity, destination = %original, %reason, error = %error, "connection refused");
    }
}

/// A connection from `client` to `workload` cannot be served.
pub(super) fn inbound(
    metrics: &Metrics,
    workload: &Workload,
    (target, client): (SocketAddr, SocketAddr),
    tls: Tls,
    reason: Reason,
    error: &dyn fmt::Display,
) {
    metrics.refused(Direction::Inbound, &workload.labels, reason);
    if workload.log_limiter.allow(reason.as_str()) {
        let identity = tls.identity().map(tracing::field::display);
        warn!(destination = %workload.key, addr = %target, %client, identity, %reason, error = %error, "connection refused");
    }
    count_closed(metrics, workload, target, tls, Some(reason.errno()));
}

/// Counts an accepted connection that ends before anything could be forwarded.
pub(super) fn count_closed(
    metrics: &Metrics,
    workload: &Workload,
    target: SocketAddr,
    tls: Tls,
    errno: Option<&'static str>,
) {
    let labels = TransportLabels {
        direction: Direction::Inbound,
        peer: Peer::Src,
        workload: workload.labels.clone(),
        tls,
        target,
        server: Some(workload.config().policies.port(target.port()).labels),
        destination: None,
    };
    metrics.transport(&labels).open().close(errno);
}

/// How a connection without TLS for this pod is counted.
pub(super) const fn plaintext() -> Tls {
    Tls::NoIdentity(reason::NO_TLS_FROM_REMOTE)
}

/// The same for a client that is a process of the node.
pub(super) const fn plaintext_of_node() -> Tls {
    Tls::NoIdentity(reason::FROM_NODE)
}
