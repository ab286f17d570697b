//! Is this client let in, and who is told?

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    app::Shared,
    identity::Identity,
    metrics::{
        AuthzLabels, AuthzOutcome, Direction, OpenConn, Peer, ServerLabels, Tls, TransportLabels, reason,
    },
    policy::{Client, Decision, Reason},
    tcp::End,
    workloads::{Terms, Workload},
};

/// A client that was let in.
pub struct Admission {
    shared: Arc<Shared>,
    workload: Arc<Workload>,
    terms: watch::Receiver<Arc<Terms>>,
    target: SocketAddr,
    client: IpAddr,
    identity: Option<Identity>,
    tls: Tls,
    server: Arc<ServerLabels>,
}

/// Asks the policy of `target`'s port, for connections from other nodes and from this one. Counts and logs the
/// answer.
pub fn admit(
    shared: &Arc<Shared>,
    workload: &Arc<Workload>,
    target: SocketAddr,
    client: Client<'_>,
    tls: Tls,
) -> Result<Admission, Reason> {
    // Before the decision, so that no change goes unnoticed after it.
    let mut terms = workload.terms_changed();
    let port = terms.borrow_and_update().policies.port(target.port());
    let decision = port.policy.authorize(client, &shared.cluster_networks);
    let outcome = if decision.admits() { AuthzOutcome::Allow } else { AuthzOutcome::Deny };
    let labels = AuthzLabels {
        workload: workload.labels.clone(),
        target,
        tls: tls.clone(),
        server: Some(port.labels.clone()),
        authz_name: decision.admits().then(|| port.policy.as_str().into()),
    };
    shared.metrics.authz(outcome, &labels);
    let identity = client.identity.map(tracing::field::display);
    match decision {
        Decision::Deny(reason) => {
            if workload.throttle.admits("denied") {
                warn!(destination = %workload.key, addr = %target, client = %client.ip, identity, policy = port.labels.name, %reason, "denied");
            }
            return Err(reason);
        }
        Decision::Audit if client.identity.is_none() => {
            if workload.throttle.admits("audit") {
                info!(destination = %workload.key, addr = %target, client = %client.ip, policy = "audit", "admitted by audit only: the client has proven no identity");
            }
        }
        Decision::Audit | Decision::Allow => {}
    }
    Ok(Admission {
        shared: shared.clone(),
        workload: workload.clone(),
        terms,
        target,
        client: client.ip,
        identity: client.identity.cloned(),
        tls,
        server: port.labels,
    })
}

impl Admission {
    /// Resolves when the policy has changed and would not let the client in any more. Counts and logs that.
    pub async fn revoked(mut self) -> End {
        loop {
            // The sender is the workload's own.
            let _ = self.terms.changed().await;
            let port = self.workload.terms().policies.port(self.target.port());
            let client = Client { ip: self.client, identity: self.identity.as_ref() };
            let Decision::Deny(reason) = port.policy.authorize(client, &self.shared.cluster_networks) else {
                continue;
            };
            let labels = AuthzLabels {
                workload: self.workload.labels.clone(),
                target: self.target,
                tls: self.tls.clone(),
                server: Some(port.labels.clone()),
                authz_name: None,
            };
            self.shared.metrics.authz(AuthzOutcome::Terminate, &labels);
            let identity = self.identity.as_ref().map(tracing::field::display);
            if self.workload.throttle.admits("terminated") {
                warn!(destination = %self.workload.key, addr = %self.target, client = %self.client, identity, policy = port.labels.name, %reason, "terminated: the policy has changed");
            }
            return End::Revoked;
        }
    }

    /// As [`Self::revoked`], or when the pod that the client was let in to is gone.
    pub async fn over(self) -> End {
        let workload = self.workload.clone();
        tokio::select! {
            end = self.revoked() => end,
            () = workload.ended() => End::Departed,
        }
    }

    /// Counts the connection: its leg to the client, and to the application.
    pub fn open(&self) -> (OpenConn, OpenConn) {
        let open = |peer, tls| {
            let labels = TransportLabels {
                direction: Direction::Inbound,
                peer,
                workload: self.workload.labels.clone(),
                tls,
                target: self.target,
                server: Some(self.server.clone()),
                destination: None,
            };
            self.shared.metrics.transport(&labels).open()
        };
        (open(Peer::Src, self.tls.clone()), open(Peer::Dst, Tls::NoIdentity(reason::LOOPBACK)))
    }
}
