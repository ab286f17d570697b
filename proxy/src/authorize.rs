//! Decides whether a client may connect to a workload, and notices when that changes.
//!
//! Connections from other nodes and from this one ask here alike. [`RequestAuthorization`] does it for requests.
#![forbid(unsafe_code)]

mod requests;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::requests::{RequestAuthorization, RequestSettings, RequestVerdict};
use crate::{
    capture::NodeConnections,
    metrics::{
        AuthorizationLabels, AuthzOutcome, DecisionLabels, Metrics, OpenConn, ServerLabels, Tls,
        TransportLabels, reason,
    },
    net::{Direction, Peer},
    policy::{Client, Decision, DenyReason},
    tls::Identity,
    workload::{Workload, WorkloadConfig},
};

/// Asks the policies of workloads.
pub struct Authorizer {
    metrics: Metrics,
    cluster_networks: Vec<IpNet>,
    node: NodeConnections,
    /// How clients are counted that make a health check.
    probe: Arc<AuthorizationLabels>,
}

/// A client that was let in. It owns the subscription to the workload's policies, so that it can be revoked.
pub struct Authorization {
    authorizer: Arc<Authorizer>,
    workload: Arc<Workload>,
    changes: watch::Receiver<Arc<WorkloadConfig>>,
    target: SocketAddr,
    client: SocketAddr,
    tls: Tls,
    server: Arc<ServerLabels>,
}

impl Authorizer {
    pub fn new(metrics: Metrics, cluster_networks: Vec<IpNet>, node: NodeConnections) -> Arc<Self> {
        let probe = Arc::new(AuthorizationLabels::default_of("probe"));
        Arc::new(Self { metrics, cluster_networks, node, probe })
    }

    /// The networks of the cluster, for the `cluster-…` policies.
    pub fn cluster_networks(&self) -> &[IpNet] {
        &self.cluster_networks
    }

    /// What the policy of `target`'s port says of a client, without counting or logging it.
    pub fn decide(&self, workload: &Workload, target: SocketAddr, client: Client<'_>) -> Decision {
        workload.config().policies.port(target.port()).authorize(client, &self.cluster_networks)
    }

    /// Whether the node itself opened this connection in plaintext, as the kubelet does for health checks.
    pub fn is_from_node(&self, target: SocketAddr, client: SocketAddr) -> bool {
        self.node.hold(client, target)
    }

    /// [`Self::decide`] for a connection whose bytes are not interpreted. Health checks over the application's own TLS
    /// are let in.
    fn decide_connection(
        &self,
        config: &WorkloadConfig,
        target: SocketAddr,
        client: SocketAddr,
        tls: &Tls,
    ) -> Decision {
        let asking = Client { ip: client.ip(), identity: tls.identity() };
        match config.policies.port(target.port()).authorize(asking, &self.cluster_networks) {
            Decision::Deny(_)
                if matches!(tls, Tls::Opaque { .. })
                    && config.policies.probes().is_over_tls(target.port())
                    && self.is_from_node(target, client) =>
            {
                Decision::Allow(self.probe.clone())
            }
            decision => decision,
        }
    }

    /// Asks the policy of `target`'s port; counts and logs the answer.
    ///
    /// # Errors
    /// Why the client may not connect.
    pub fn authorize(
        self: &Arc<Self>,
        workload: &Arc<Workload>,
        target: SocketAddr,
        client: SocketAddr,
        tls: Tls,
    ) -> Result<Authorization, DenyReason> {
        // Subscribe before deciding, so that no change is missed in between.
        let mut changes = workload.config_changes();
        let config = changes.borrow_and_update().clone();
        let server = config.policies.port(target.port()).labels;
        let decision = self.decide_connection(&config, target, client, &tls);
        let outcome = if decision.admits() { AuthzOutcome::Allow } else { AuthzOutcome::Deny };
        let audited = matches!(decision, Decision::Audit(_)) && tls.identity().is_none();
        let allowed = decision.allowed();
        self.count(outcome, workload, target, &tls, &server, allowed.as_ref().ok());
        let identity = tls.identity().map(tracing::field::display);
        if let Err(reason) = allowed {
            if workload.log_limiter.allow("denied") {
                warn!(destination = %workload.key, addr = %target, client = %client.ip(), identity, policy = server.name, %reason, "denied by policy");
            }
            return Err(reason);
        }
        if audited && workload.log_limiter.allow("audit") {
            info!(destination = %workload.key, addr = %target, client = %client.ip(), policy = "audit", "allowed by the audit policy only: the client has proven no identity");
        }
        Ok(Authorization {
            authorizer: self.clone(),
            workload: workload.clone(),
            changes,
            target,
            client,
            tls,
            server,
        })
    }

    fn count(
        &self,
        outcome: AuthzOutcome,
        workload: &Workload,
        target: SocketAddr,
        tls: &Tls,
        server: &Arc<ServerLabels>,
        allowed: Option<&Arc<AuthorizationLabels>>,
    ) {
        let labels = DecisionLabels {
            workload: workload.labels.clone(),
            target,
            tls: tls.clone(),
            server: Some(server.clone()),
            authz: allowed.cloned(),
        };
        self.metrics.authz(outcome, &labels);
    }

    /// Opens the counter of one of the two TCP connections of a client.
    pub fn open_counter(
        &self,
        workload: &Workload,
        target: SocketAddr,
        server: Arc<ServerLabels>,
        client: &Tls,
        peer: Peer,
    ) -> OpenConn {
        let tls = match peer {
            Peer::Src => client.clone(),
            Peer::Dst => Tls::NoIdentity(reason::LOOPBACK),
        };
        let labels = TransportLabels {
            direction: Direction::Inbound,
            peer,
            workload: workload.labels.clone(),
            tls,
            target,
            server: Some(server),
            destination: None,
        };
        self.metrics.transport(&labels).open()
    }

    /// Counts and logs that something which was allowed is ended because the policy has changed.
    pub fn terminated(
        &self,
        workload: &Workload,
        target: SocketAddr,
        client: IpAddr,
        tls: &Tls,
        reason: DenyReason,
    ) {
        let server = workload.config().policies.port(target.port()).labels;
        self.count(AuthzOutcome::Terminate, workload, target, tls, &server, None);
        if workload.log_limiter.allow("terminated") {
            let identity = tls.identity().map(tracing::field::display);
            warn!(destination = %workload.key, addr = %target, %client, identity, policy = server.name, %reason, "connection terminated: the policy has changed");
        }
    }
}

impl Authorization {
    pub fn identity(&self) -> Option<&Identity> {
        self.tls.identity()
    }

    /// Asks the policy of this moment again.
    ///
    /// # Errors
    /// Why the client may not go on.
    pub fn recheck(&self) -> Result<(), DenyReason> {
        let config = self.workload.config();
        self.authorizer.decide_connection(&config, self.target, self.client, &self.tls).allowed().map(drop)
    }

    /// Resolves when the policy has changed and does not let the client in any more. Counts and logs that.
    pub async fn revoked(&mut self) {
        loop {
            // The workload, which we hold, owns the sender.
            let _ = self.changes.changed().await;
            if let Err(reason) = self.recheck() {
                let (workload, target) = (&self.workload, self.target);
                return self.authorizer.terminated(workload, target, self.client.ip(), &self.tls, reason);
            }
        }
    }

    /// Cancelled when the pod that the client was let in to has gone away.
    pub fn pod_token(&self) -> CancellationToken {
        self.workload.terminated.clone()
    }

    /// Opens the destination workload's counter of one of the two TCP connections.
    pub fn open_counter(&self, peer: Peer) -> OpenConn {
        let (workload, target, server) = (&self.workload, self.target, self.server.clone());
        self.authorizer.open_counter(workload, target, server, &self.tls, peer)
    }
}
