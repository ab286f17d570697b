//! A grant of direct connections, with the counters of these connections.

use std::{net::SocketAddr, sync::Arc};

use weft_common::DirectKey;

use crate::{
    balance::Endpoint,
    metrics::{
        AuthorizationLabels, AuthzOutcome, DecisionLabels, Metrics, OpenConn, Tls, Transport,
        TransportLabels, reason,
    },
    net::{Direction, Peer},
    workload::Workload,
};

/// A grant and its counters. It holds no reference to a workload, so that workloads can be dropped.
pub(super) struct Grant {
    pub(super) id: u64,
    pub(super) key: DirectKey,
    /// The address that the application connects to.
    pub(super) original: SocketAddr,
    backends: Vec<Backend>,
    accepted: Arc<Transport>,
}

struct Backend {
    netns: u64,
    target: SocketAddr,
    /// The source's leg to the backend.
    outbound: Arc<Transport>,
    /// The backend's legs: to the source and to its application.
    inbound: [Arc<Transport>; 2],
    authz: DecisionLabels,
}

impl Grant {
    pub(super) fn new(
        metrics: &Metrics,
        id: u64,
        key: DirectKey,
        source: &Workload,
        original: SocketAddr,
        backends: &[(Endpoint, Arc<Workload>, Arc<AuthorizationLabels>)],
    ) -> Self {
        let loopback = || Tls::NoIdentity(reason::LOOPBACK);
        let accepted = metrics.transport(&TransportLabels {
            direction: Direction::Outbound,
            peer: Peer::Src,
            workload: source.labels.clone(),
            tls: loopback(),
            target: original,
            server: None,
            destination: None,
        });
        let backends = backends
            .iter()
            .map(|(endpoint, workload, allowed)| {
                Backend::new(metrics, source, endpoint, workload, allowed.clone())
            })
            .collect();
        Grant { id, key, original, backends, accepted }
    }

    /// Whether the workload in this namespace is the source or a backend.
    pub(super) fn is_affected_by(&self, netns: u64) -> bool {
        self.key.netns == netns || self.backends.iter().any(|backend| backend.netns == netns)
    }

    /// The backends' addresses.
    pub(super) fn targets(&self) -> impl Iterator<Item = SocketAddr> {
        self.backends.iter().map(|backend| backend.target)
    }

    /// Counts a connection at its source: the leg to the application and the leg to the backend.
    pub(super) fn open_source(&self, backend: u32) -> Option<[OpenConn; 2]> {
        let backend = self.backends.get(backend as usize)?;
        Some([self.accepted.open(), backend.outbound.open()])
    }

    /// Counts a connection at its backend, and that policy allowed it.
    pub(super) fn open_destination(&self, metrics: &Metrics, backend: u32) -> Option<[OpenConn; 2]> {
        let backend = self.backends.get(backend as usize)?;
        metrics.authz(AuthzOutcome::Allow, &backend.authz);
        let [source, application] = &backend.inbound;
        Some([source.open(), application.open()])
    }

    /// Counts a connection that was not established.
    pub(super) fn refused(&self, errno: &'static str) {
        self.accepted.open().close(Some(errno));
    }
}

impl Backend {
    fn new(
        metrics: &Metrics,
        source: &Workload,
        endpoint: &Endpoint,
        workload: &Workload,
        allowed: Arc<AuthorizationLabels>,
    ) -> Self {
        let identity = &source.identity;
        let port = workload.config().policies.port(endpoint.addr.port());
        let outbound = metrics.transport(&TransportLabels {
            direction: Direction::Outbound,
            peer: Peer::Dst,
            workload: source.labels.clone(),
            tls: Tls::Local(workload.identity.clone()),
            target: endpoint.addr,
            server: None,
            destination: Some(endpoint.labels.clone()),
        });
        let inbound = |peer, tls| {
            metrics.transport(&TransportLabels {
                direction: Direction::Inbound,
                peer,
                workload: workload.labels.clone(),
                tls,
                target: endpoint.addr,
                server: Some(port.labels.clone()),
                destination: None,
            })
        };
        let inbound = [
            inbound(Peer::Src, Tls::Local(identity.clone())),
            inbound(Peer::Dst, Tls::NoIdentity(reason::LOOPBACK)),
        ];
        let authz = DecisionLabels {
            workload: workload.labels.clone(),
            target: endpoint.addr,
            tls: Tls::Local(identity.clone()),
            server: Some(port.labels.clone()),
            authz: Some(allowed),
        };
        Backend { netns: workload.netns.cookie(), target: endpoint.addr, outbound, inbound, authz }
    }
}
