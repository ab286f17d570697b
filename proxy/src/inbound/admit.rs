//! Is this client let in, and who is told?

use std::{net::SocketAddr, sync::Arc};

use tracing::{info, warn};

use crate::{
    app::Shared,
    metrics::{
        AuthzLabels, AuthzOutcome, Direction, OpenConn, Peer, ServerLabels, Tls, TransportLabels, reason,
    },
    policy::{Client, Decision, Reason},
    workloads::Workload,
};

/// A client that was let in.
pub struct Admission {
    shared: Arc<Shared>,
    workload: Arc<Workload>,
    target: SocketAddr,
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
    let port = workload.terms().policies.port(target.port());
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
            warn!(destination = %workload.key, %target, client = %client.ip, identity, policy = port.labels.name, %reason, "denied");
            return Err(reason);
        }
        Decision::Audit if client.identity.is_none() => {
            info!(destination = %workload.key, %target, client = %client.ip, policy = "audit", "admitted by audit only: the client has proven no identity");
        }
        Decision::Audit | Decision::Allow => {}
    }
    Ok(Admission { shared: shared.clone(), workload: workload.clone(), target, tls, server: port.labels })
}

impl Admission {
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
