//! What is configured for a workload's inbound ports: who may connect, and the protocol.
//!
//! A client may connect if the port's policy (one of Linkerd's default policies) or one of its authorizations lets it
//! in. The same function decides for connections from other nodes, from this node, and past the proxy.
#![forbid(unsafe_code)]

mod authorization;
mod probe;

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;

pub use self::{
    authorization::{ClientAuthorization, Clients, Identities, Network},
    probe::{Probe, Probes},
};
use crate::{
    metrics::{AuthorizationLabels, ServerLabels},
    tls::Identity,
};

/// Which clients may connect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InboundPolicy {
    /// All clients.
    AllUnauthenticated,
    /// Clients with a proven identity.
    AllAuthenticated,
    /// Clients from the cluster's networks.
    ClusterUnauthenticated,
    /// Clients with a proven identity, from the cluster's networks.
    ClusterAuthenticated,
    /// No client.
    Deny,
    /// All clients; connections that would have been denied are counted and logged.
    Audit,
}

/// What is declared about the protocol of a port.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum DeclaredProtocol {
    /// Nothing; it is to be detected.
    #[default]
    Detect,
    /// The bytes must not be interpreted.
    Opaque,
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
    /// gRPC.
    Grpc,
    /// The application's own TLS.
    Tls,
}

impl DeclaredProtocol {
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Http1 | Self::Http2 | Self::Grpc)
    }
}

/// What is known of a client.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub ip: IpAddr,
    /// The proven identity: by certificate, or for workloads of this node by the kernel.
    pub identity: Option<&'a Identity>,
}

/// The decision of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The client may connect, by this authorization.
    Allow(Arc<AuthorizationLabels>),
    /// The client may connect, because the policy only audits.
    Audit(Arc<AuthorizationLabels>),
    /// The client may not connect.
    Deny(DenyReason),
}

/// Why a client is denied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenyReason {
    /// The policy denies all clients.
    Denied,
    /// The policy denies all clients but those that authorizations name.
    NotAuthorized,
    /// The client has no proven identity.
    Unauthenticated,
    /// The client is outside the cluster's networks.
    OutsideCluster,
}

/// The policy of a port, with its metric labels, and the port's declared protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct PortPolicy {
    policy: InboundPolicy,
    pub labels: Arc<ServerLabels>,
    /// The labels of clients that the policy itself lets in.
    allowed: Arc<AuthorizationLabels>,
    authorizations: Arc<[ClientAuthorization]>,
    protocol: DeclaredProtocol,
}

/// What is configured for one port.
#[derive(Clone, Debug, PartialEq)]
pub struct PortSettings {
    pub policy: InboundPolicy,
    /// The name of the Server; empty if an annotation sets the policy.
    pub server: String,
    pub protocol: DeclaredProtocol,
    /// Clients that one of these lets in are let in, whatever the policy says of them.
    pub authorizations: Vec<ClientAuthorization>,
}

/// All policies of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Policies {
    default: InboundPolicy,
    /// The labels of clients that the default policy lets in.
    default_allowed: Arc<AuthorizationLabels>,
    ports: HashMap<u16, PortPolicy>,
    probes: Probes,
}

impl Policies {
    /// `ports` overrides `default`.
    pub fn new(
        default: InboundPolicy,
        ports: impl IntoIterator<Item = (u16, PortSettings)>,
        probes: impl IntoIterator<Item = Probe>,
    ) -> Self {
        Policies {
            default,
            default_allowed: allowed_by(default),
            ports: ports
                .into_iter()
                .map(|(port, settings)| (port, PortPolicy::new(port, settings)))
                .collect(),
            probes: Probes::new(probes),
        }
    }

    /// The policy of `port`.
    pub fn port(&self, port: u16) -> PortPolicy {
        self.ports.get(&port).cloned().unwrap_or_else(|| PortPolicy {
            policy: self.default,
            labels: Arc::new(default_labels(self.default, port)),
            allowed: self.default_allowed.clone(),
            authorizations: Arc::default(),
            protocol: DeclaredProtocol::Detect,
        })
    }

    /// The protocol that is declared for `port`.
    pub fn protocol(&self, port: u16) -> DeclaredProtocol {
        self.ports.get(&port).map(|port| port.protocol).unwrap_or_default()
    }

    /// The health checks that the pod's specification declares.
    pub fn probes(&self) -> &Probes {
        &self.probes
    }
}

impl PortPolicy {
    fn new(port: u16, settings: PortSettings) -> Self {
        let PortSettings { policy, server, protocol, authorizations } = settings;
        let labels = if server.is_empty() {
            default_labels(policy, port)
        } else {
            ServerLabels {
                group: "policy.linkerd.io".to_owned(),
                kind: "server".to_owned(),
                name: server,
                port,
            }
        };
        let labels = Arc::new(labels);
        Self { policy, labels, allowed: allowed_by(policy), authorizations: authorizations.into(), protocol }
    }

    /// Decides whether the client may connect. `cluster` are the cluster's networks.
    pub fn authorize(&self, client: Client<'_>, cluster: &[IpNet]) -> Decision {
        if let Some(authorization) = self.authorizations.iter().find(|a| a.admits(client)) {
            return Decision::Allow(authorization.labels.clone());
        }
        match self.policy.check(client, cluster) {
            Ok(()) if self.policy == InboundPolicy::Audit => Decision::Audit(self.allowed.clone()),
            Ok(()) => Decision::Allow(self.allowed.clone()),
            Err(DenyReason::Denied) if !self.authorizations.is_empty() => {
                Decision::Deny(DenyReason::NotAuthorized)
            }
            Err(reason) => Decision::Deny(reason),
        }
    }
}

impl InboundPolicy {
    /// Why the policy itself does not let the client in, if it does not.
    fn check(self, client: Client<'_>, cluster: &[IpNet]) -> Result<(), DenyReason> {
        let in_cluster = || cluster.iter().any(|net| net.contains(&client.ip));
        let (needs_identity, needs_cluster) = match self {
            InboundPolicy::AllUnauthenticated | InboundPolicy::Audit => (false, false),
            InboundPolicy::AllAuthenticated => (true, false),
            InboundPolicy::ClusterUnauthenticated => (false, true),
            InboundPolicy::ClusterAuthenticated => (true, true),
            InboundPolicy::Deny => return Err(DenyReason::Denied),
        };
        if needs_cluster && !in_cluster() {
            Err(DenyReason::OutsideCluster)
        } else if needs_identity && client.identity.is_none() {
            Err(DenyReason::Unauthenticated)
        } else {
            Ok(())
        }
    }

    /// Linkerd's name of the policy.
    const fn as_str(self) -> &'static str {
        match self {
            InboundPolicy::AllUnauthenticated => "all-unauthenticated",
            InboundPolicy::AllAuthenticated => "all-authenticated",
            InboundPolicy::ClusterUnauthenticated => "cluster-unauthenticated",
            InboundPolicy::ClusterAuthenticated => "cluster-authenticated",
            InboundPolicy::Deny => "deny",
            InboundPolicy::Audit => "audit",
        }
    }
}

impl Decision {
    /// Whether the client may connect.
    pub fn admits(&self) -> bool {
        !matches!(self, Decision::Deny(_))
    }

    /// What lets the client in.
    ///
    /// # Errors
    /// Why it may not connect.
    pub fn allowed(self) -> Result<Arc<AuthorizationLabels>, DenyReason> {
        match self {
            Decision::Allow(by) | Decision::Audit(by) => Ok(by),
            Decision::Deny(reason) => Err(reason),
        }
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DenyReason::Denied => "the policy denies all clients",
            DenyReason::NotAuthorized => "no authorization of the port lets the client in",
            DenyReason::Unauthenticated => "the client has no proven identity",
            DenyReason::OutsideCluster => "the client is outside the cluster's networks",
        })
    }
}

fn default_labels(policy: InboundPolicy, port: u16) -> ServerLabels {
    ServerLabels { group: String::new(), kind: "default".to_owned(), name: policy.as_str().to_owned(), port }
}

/// How clients are counted that a policy itself lets in.
fn allowed_by(policy: InboundPolicy) -> Arc<AuthorizationLabels> {
    Arc::new(AuthorizationLabels::default_of(policy.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(policy: InboundPolicy, server: &str, protocol: DeclaredProtocol) -> PortSettings {
        PortSettings { policy, server: server.to_owned(), protocol, authorizations: Vec::new() }
    }

    #[test]
    fn each_policy_decides_by_identity_and_network() {
        let cluster: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let id: Identity = "web.demo.serviceaccount.identity.linkerd.cluster.local".parse().unwrap();
        let decide = |policy: InboundPolicy, ip: &str, proven: bool| {
            let client = Client { ip: ip.parse().unwrap(), identity: proven.then_some(&id) };
            Policies::new(policy, [], []).port(80).authorize(client, &cluster)
        };
        use InboundPolicy::*;
        for (policy, inside, inside_proven, outside, outside_proven) in [
            (AllUnauthenticated, true, true, true, true),
            (AllAuthenticated, false, true, false, true),
            (ClusterUnauthenticated, true, true, false, false),
            (ClusterAuthenticated, false, true, false, false),
            (Deny, false, false, false, false),
            (Audit, true, true, true, true),
        ] {
            assert_eq!(decide(policy, "10.1.1.1", false).admits(), inside, "{policy:?}");
            assert_eq!(decide(policy, "fd00::1", true).admits(), inside_proven, "{policy:?}");
            assert_eq!(decide(policy, "192.0.2.1", false).admits(), outside, "{policy:?}");
            assert_eq!(decide(policy, "2001:db8::1", true).admits(), outside_proven, "{policy:?}");
        }
        assert_eq!(
            decide(ClusterAuthenticated, "10.0.0.1", false),
            Decision::Deny(DenyReason::Unauthenticated)
        );
        assert_eq!(
            decide(ClusterAuthenticated, "192.0.2.1", true),
            Decision::Deny(DenyReason::OutsideCluster)
        );
        assert_eq!(decide(AllAuthenticated, "192.0.2.1", true).allowed().unwrap().name, "all-authenticated");
        assert!(matches!(decide(Audit, "192.0.2.1", false), Decision::Audit(by) if by.name == "audit"));
    }

    #[test]
    fn an_authorization_lets_in_whom_the_policy_denies_and_is_named() {
        let by_name = |name: &str, net: &str, clients| ClientAuthorization {
            labels: Arc::new(AuthorizationLabels {
                group: "policy.linkerd.io".to_owned(),
                kind: "serverauthorization".to_owned(),
                name: name.to_owned(),
            }),
            networks: vec![Network { net: net.parse().unwrap(), except: Vec::new() }],
            clients,
        };
        let authorizations = vec![
            by_name("meshed", "10.0.0.0/8", Clients::Authenticated),
            by_name("edge", "10.9.0.0/16", Clients::Unauthenticated),
        ];
        let id: Identity = "web.demo.serviceaccount.identity.linkerd.cluster.local".parse().unwrap();
        let decide = |policy, ip: &str, proven: bool| {
            let port = PortSettings {
                authorizations: authorizations.clone(),
                ..settings(policy, "web", DeclaredProtocol::Detect)
            };
            let client = Client { ip: ip.parse().unwrap(), identity: proven.then_some(&id) };
            Policies::new(Deny, [(80, port)], []).port(80).authorize(client, &[])
        };
        let name = |decision: Decision| decision.allowed().map(|by| by.name.clone());
        use InboundPolicy::*;
        assert_eq!(name(decide(Deny, "10.1.1.1", true)).as_deref(), Ok("meshed"));
        assert_eq!(name(decide(Deny, "10.9.1.1", false)).as_deref(), Ok("edge"));
        assert_eq!(name(decide(Deny, "10.1.1.1", false)), Err(DenyReason::NotAuthorized));
        assert_eq!(name(decide(AllAuthenticated, "192.0.2.1", true)).as_deref(), Ok("all-authenticated"));
        assert_eq!(name(decide(AllAuthenticated, "192.0.2.1", false)), Err(DenyReason::Unauthenticated));
        assert!(matches!(decide(Audit, "10.9.1.1", false), Decision::Allow(by) if by.name == "edge"));
        assert!(matches!(decide(Audit, "192.0.2.1", false), Decision::Audit(_)));
    }

    #[test]
    fn a_port_overrides_the_default() {
        let policies = Policies::new(
            InboundPolicy::AllUnauthenticated,
            [
                (80, settings(InboundPolicy::Deny, "web", DeclaredProtocol::Http1)),
                (81, settings(InboundPolicy::AllAuthenticated, "", DeclaredProtocol::Detect)),
            ],
            [],
        );
        assert_eq!(policies.port(80).policy, InboundPolicy::Deny);
        assert_eq!(policies.port(80).labels.name, "web");
        assert_eq!(policies.port(81).labels.name, "all-authenticated");
        assert_eq!(policies.port(82).policy, InboundPolicy::AllUnauthenticated);
        for (port, protocol) in
            [(80, DeclaredProtocol::Http1), (81, DeclaredProtocol::Detect), (82, DeclaredProtocol::Detect)]
        {
            assert_eq!(policies.protocol(port), protocol, "{port}");
        }
    }
}
