//! Decides whether a client may make a request, anew for each request on a connection.

use std::{net::SocketAddr, sync::Arc};

use http::Request;
use tokio::sync::watch;
use tracing::warn;

use super::Authorizer;
use crate::{
    metrics::{AuthorizationLabels, Authz, AuthzOutcome, DecisionLabels, ServerLabels, Tls},
    policy::{Client, DeclaredProtocol, DenyReason},
    workload::{AccessLogFormat, Workload, WorkloadConfig},
};

/// The permission of a client to make requests on one connection, which follows the policy.
pub struct RequestAuthorization {
    authorizer: Arc<Authorizer>,
    workload: Arc<Workload>,
    changes: watch::Receiver<Arc<WorkloadConfig>>,
    target: SocketAddr,
    client: SocketAddr,
    tls: Tls,
    current: Option<Current>,
    /// Whether the node itself is the client, once that has been asked.
    is_node: Option<bool>,
}

/// What the policy says of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestVerdict {
    /// Why it is denied, if it is.
    pub result: Result<(), DenyReason>,
    /// It is a health check of the pod's specification, made by the node.
    pub is_probe: bool,
    pub settings: RequestSettings,
}

/// What a workload's configuration says about the requests to a port.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestSettings {
    pub access_log: Option<AccessLogFormat>,
    /// Whether requests may be changed. A client on this node may speak HTTP to a port that is declared opaque.
    pub interprets: bool,
}

/// What the policy of this moment says.
struct Current {
    config: Arc<WorkloadConfig>,
    result: Result<(), DenyReason>,
    server: Arc<ServerLabels>,
    counters: Arc<Authz>,
    /// The counters of health checks.
    probes: Option<Arc<Authz>>,
    settings: RequestSettings,
}

impl Authorizer {
    /// The permission of a client to make requests; asked anew for each.
    pub fn authorize_requests(
        self: &Arc<Self>,
        workload: &Arc<Workload>,
        target: SocketAddr,
        client: SocketAddr,
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
            is_node: None,
        }
    }
}

impl RequestAuthorization {
    /// Asks the policy about one request; counts and logs the answer.
    pub fn check<B>(&mut self, request: &Request<B>) -> RequestVerdict {
        let changed = self.changes.has_changed().unwrap_or(false);
        let mut current = match self.current.take() {
            Some(current) if !changed => current,
            _ => self.decide(),
        };
        let settings = current.settings;
        let verdict = if self.is_probe(&current.config, request) {
            let counters = current
                .probes
                .get_or_insert_with(|| self.counters(&current.server, Some(self.authorizer.probe.clone())));
            counters.count(AuthzOutcome::Allow);
            RequestVerdict { result: Ok(()), is_probe: true, settings }
        } else {
            self.count(&current);
            RequestVerdict { result: current.result, is_probe: false, settings }
        };
        self.current = Some(current);
        verdict
    }

    /// The policy that has decided the last request.
    pub fn server(&self) -> Option<&Arc<ServerLabels>> {
        self.current.as_ref().map(|current| &current.server)
    }

    /// Only in plaintext: the node has no identity.
    fn is_probe<B>(&mut self, config: &WorkloadConfig, request: &Request<B>) -> bool {
        let (method, path) = (request.method().as_str(), request.uri().path());
        matches!(self.tls, Tls::NoIdentity(_))
            && config.policies.probes().is_request(self.target.port(), method, path)
            && *self.is_node.get_or_insert_with(|| self.authorizer.is_from_node(self.target, self.client))
    }

    fn count(&self, current: &Current) {
        let outcome = if current.result.is_ok() { AuthzOutcome::Allow } else { AuthzOutcome::Deny };
        current.counters.count(outcome);
        if let Err(reason) = current.result
            && self.workload.log_limiter.allow("denied")
        {
            let identity = self.tls.identity().map(tracing::field::display);
            warn!(destination = %self.workload.key, addr = %self.target, client = %self.client.ip(), identity, policy = current.server.name, %reason, "request denied by policy");
        }
    }

    /// Reads the policy anew; the next call sees later changes.
    fn decide(&mut self) -> Current {
        let config = self.changes.borrow_and_update().clone();
        let port = config.policies.port(self.target.port());
        let client = Client { ip: self.client.ip(), identity: self.tls.identity() };
        let allowed = port.authorize(client, &self.authorizer.cluster_networks).allowed();
        let counters = self.counters(&port.labels, allowed.as_ref().ok().cloned());
        let declared = config.inbound_protocol(self.target.port());
        let settings = RequestSettings {
            access_log: config.access_log,
            interprets: !matches!(declared, DeclaredProtocol::Opaque | DeclaredProtocol::Tls),
        };
        let (result, server) = (allowed.map(drop), port.labels);
        Current { config, result, server, counters, probes: None, settings }
    }

    fn counters(&self, server: &Arc<ServerLabels>, authz: Option<Arc<AuthorizationLabels>>) -> Arc<Authz> {
        self.authorizer.metrics.http_authz(&DecisionLabels {
            workload: self.workload.labels.clone(),
            target: self.target,
            tls: self.tls.clone(),
            server: Some(server.clone()),
            authz,
        })
    }

    /// Waits until the policy has changed and denies the client.
    pub async fn revoked(mut self) {
        loop {
            // The workload, which we hold, owns the sender.
            let _ = self.changes.changed().await;
            if let Err(reason) = self.decide().result {
                let (workload, target) = (&self.workload, self.target);
                return self.authorizer.terminated(workload, target, self.client.ip(), &self.tls, reason);
            }
        }
    }
}
