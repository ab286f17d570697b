//! Decides whether a client may connect to a workload, and notices when that changes.
//!
//! Connections from other nodes and from this one ask here alike.
#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    metrics::{
        Authz, AuthzLabels, AuthzOutcome, Metrics, OpenConn, ServerLabels, Tls, TransportLabels, reason,
    },
    net::{Direction, Peer},
    policy::{Client, Decision, DeclaredProtocol, DenyReason, PortPolicy},
    tls::Identity,
    workload::{AccessLogFormat, Workload, WorkloadConfig},
};

/// Asks the policies of workloads.
pub struct Authorizer {
    metrics: Metrics,
    cluster_networks: Vec<IpNet>,
}

/// A client that was let in. It owns the subscription to the workload's policies, so that it can be revoked.
pub struct Authorization {
    authorizer: Arc<Authorizer>,
    workload: Arc<Workload>,
    changes: watch::Receiver<Arc<WorkloadConfig>>,
    target: SocketAddr,
    client: IpAddr,
    tls: Tls,
    server: Arc<ServerLabels>,
}

/// The permission of a client to make requests on one connection, which follows the policy.
pub struct RequestAuthorization {
    authorizer: Arc<Authorizer>,
    workload: Arc<Workload>,
    changes: watch::Receiver<Arc<WorkloadConfig>>,
    target: SocketAddr,
    client: IpAddr,
    tls: Tls,
    current: Option<RequestDecision>,
}

/// What the policy of this moment says.
struct RequestDecision {
    result: Result<(), DenyReason>,
    policy: Arc<ServerLabels>,
    counters: Arc<Authz>,
    settings: RequestSettings,
}

/// What a workload's configuration says about the requests to a port.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestSettings {
    pub access_log: Option<AccessLogFormat>,
    /// Whether requests may be changed. A client on this node may speak HTTP to a port that is declared opaque.
    pub interprets: bool,
}

impl Authorizer {
    pub fn new(metrics: Metrics, cluster_networks: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { metrics, cluster_networks })
    }

    /// The networks of the cluster, for the `cluster-…` policies.
    pub fn cluster_networks(&self) -> &[IpNet] {
        &self.cluster_networks
    }

    /// What the policy of `target`'s port says of a client, without counting or logging it.
    pub fn decide(&self, workload: &Workload, target: SocketAddr, client: Client<'_>) -> Decision {
        workload.config().policies.port(target.port()).policy.authorize(client, &self.cluster_networks)
    }

    /// Asks the policy of `target`'s port; counts and logs the answer.
    ///
    /// # Errors
    /// Why the client may not connect.
    pub fn authorize(
        self: &Arc<Self>,
        workload: &Arc<Workload>,
        target: SocketAddr,
        client: IpAddr,
        tls: Tls,
    ) -> Result<Authorization, DenyReason> {
        // Subscribe before deciding, so that no change is missed in between.
        let mut changes = workload.config_changes();
        let port = changes.borrow_and_update().policies.port(target.port());
        let asking = Client { ip: client, identity: tls.identity() };
        let decision = port.policy.authorize(asking, &self.cluster_networks);
        let outcome = if decision.admits() { AuthzOutcome::Allow } else { AuthzOutcome::Deny };
        self.count(outcome, workload, target, &tls, &port);
        let identity = asking.identity.map(tracing::field::display);
        match decision {
            Decision::Deny(reason) => {
                if workload.log_limiter.allow("denied") {
                    warn!(destination = %workload.key, addr = %target, %client, identity, policy = port.labels.name, %reason, "denied by policy");
                }
                return Err(reason);
            }
            Decision::Audit if asking.identity.is_none() => {
                if workload.log_limiter.allow("audit") {
                    info!(destination = %workload.key, addr = %target, %client, policy = "audit", "allowed by the audit policy only: the client has proven no identity");
                }
            }
            Decision::Audit | Decision::Allow => {}
        }
        Ok(Authorization {
            authorizer: self.clone(),
            workload: workload.clone(),
            changes,
            target,
            client,
            tls,
            server: port.labels,
        })
    }

    /// The permission of a client to make requests; asked anew for each.
    pub fn authorize_requests(
        self: &Arc<Self>,
        workload: &Arc<Workload>,
        target: SocketAddr,
        client: IpAddr,
        tls: Tls,
    ) -> RequestAuthorization {
        RequestAuthorization {
            authorizer: self.clone(),
            workload: workload.clone(),
            changes: workload.config_changes(),
            target,
            client,
            tls,
            current: None,
        }
    }

    fn count(
        &self,
        outcome: AuthzOutcome,
        workload: &Workload,
        target: SocketAddr,
        tls: &Tls,
        port: &PortPolicy,
    ) {
        let labels = AuthzLabels {
            workload: workload.labels.clone(),
            target,
            tls: tls.clone(),
            server: Some(port.labels.clone()),
            authz_name: (outcome == AuthzOutcome::Allow).then(|| port.policy.as_str().into()),
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
        let port = workload.config().policies.port(target.port());
        self.count(AuthzOutcome::Terminate, workload, target, tls, &port);
        if workload.log_limiter.allow("terminated") {
            let identity = tls.identity().map(tracing::field::display);
            warn!(destination = %workload.key, addr = %target, %client, identity, policy = port.labels.name, %reason, "connection terminated: the policy has changed");
        }
    }
}

impl RequestAuthorization {
    /// Asks the policy about one request; counts and logs the answer.
    ///
    /// # Errors
    /// Why the request is denied.
    pub fn check(&mut self) -> Result<(), DenyReason> {
        let changed = self.changes.has_changed().unwrap_or(false);
        let decision = match self.current.take() {
            Some(current) if !changed => current,
            _ => self.decide(),
        };
        let result = decision.result;
        let outcome = if result.is_ok() { AuthzOutcome::Allow } else { AuthzOutcome::Deny };
        decision.counters.count(outcome);
        if let Err(reason) = result
            && self.workload.log_limiter.allow("denied")
        {
            let identity = self.tls.identity().map(tracing::field::display);
            warn!(destination = %self.workload.key, addr = %self.target, client = %self.client, identity, policy = decision.policy.name, %reason, "request denied by policy");
        }
        self.current = Some(decision);
        result
    }

    /// The settings for the request that was checked last.
    pub fn settings(&self) -> RequestSettings {
        self.current.as_ref().map(|current| current.settings).unwrap_or_default()
    }

    /// Reads the policy anew; the next call sees later changes.
    fn decide(&mut self) -> RequestDecision {
        let config = self.changes.borrow_and_update().clone();
        let port = config.policies.port(self.target.port());
        let client = Client { ip: self.client, identity: self.tls.identity() };
        let result = match port.policy.authorize(client, &self.authorizer.cluster_networks) {
            Decision::Deny(reason) => Err(reason),
            Decision::Allow | Decision::Audit => Ok(()),
        };
        let counters = self.authorizer.metrics.http_authz(&AuthzLabels {
            workload: self.workload.labels.clone(),
            target: self.target,
            tls: self.tls.clone(),
            server: Some(port.labels.clone()),
            authz_name: result.is_ok().then(|| port.policy.as_str().into()),
        });
        let declared = config.inbound_protocol(self.target.port());
        let settings = RequestSettings {
            access_log: config.access_log,
            interprets: !matches!(declared, DeclaredProtocol::Opaque | DeclaredProtocol::Tls),
        };
        RequestDecision { result, policy: port.labels, counters, settings }
    }

    /// Waits until the policy has changed and denies the client.
    pub async fn revoked(mut self) {
        loop {
            // The workload, which we hold, owns the sender.
            let _ = self.changes.changed().await;
            if let Err(reason) = self.decide().result {
                let (workload, target) = (&self.workload, self.target);
                return self.authorizer.terminated(workload, target, self.client, &self.tls, reason);
            }
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
        let client = Client { ip: self.client, identity: self.tls.identity() };
        match self.authorizer.decide(&self.workload, self.target, client) {
            Decision::Deny(reason) => Err(reason),
            Decision::Allow | Decision::Audit => Ok(()),
        }
    }

    /// Resolves when the policy has changed and does not let the client in any more. Counts and logs that.
    pub async fn revoked(&mut self) {
        loop {
            // The workload, which we hold, owns the sender.
            let _ = self.changes.changed().await;
            if let Err(reason) = self.recheck() {
                let (workload, target) = (&self.workload, self.target);
                return self.authorizer.terminated(workload, target, self.client, &self.tls, reason);
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
