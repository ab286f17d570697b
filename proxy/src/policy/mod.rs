//! What is configured for a workload's inbound ports: who may connect (Linkerd's default policies), and the protocol.
//!
//! The same function decides who may connect for connections from other nodes and from this node.
#![forbid(unsafe_code)]

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;

use crate::{metrics::ServerLabels, tls::Identity};

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

/// What is known of a client.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub ip: IpAddr,
    /// The proven identity: by certificate, or for workloads of this node by the kernel.
    pub identity: Option<&'a Identity>,
}

/// The decision of a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The client may connect.
    Allow,
    /// The client may connect, because the policy only audits.
    Audit,
    /// The client may not connect.
    Deny(DenyReason),
}

/// Why a client is denied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenyReason {
    /// The policy denies all clients.
    Denied,
    /// The client has no proven identity.
    Unauthenticated,
    /// The client is outside the cluster's networks.
    OutsideCluster,
}

/// The policy of a port, with its metric labels, and the port's declared protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct PortPolicy {
    pub policy: InboundPolicy,
    pub labels: Arc<ServerLabels>,
    pub protocol: DeclaredProtocol,
}

/// All policies of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Policies {
    default: InboundPolicy,
    ports: HashMap<u16, PortPolicy>,
}

impl Policies {
    /// `ports` overrides `default`; a port's name is that of its Server resource, empty for an annotation.
    pub fn new(
        default: InboundPolicy,
        ports: impl IntoIterator<Item = (u16, InboundPolicy, String, DeclaredProtocol)>,
    ) -> Self {
        let ports = ports.into_iter().map(|(port, policy, server, protocol)| {
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
            (port, PortPolicy { policy, labels: Arc::new(labels), protocol })
        });
        Policies { default, ports: ports.collect() }
    }

    /// The policy of `port`.
    pub fn port(&self, port: u16) -> PortPolicy {
        self.ports.get(&port).cloned().unwrap_or_else(|| PortPolicy {
            policy: self.default,
            labels: Arc::new(default_labels(self.default, port)),
            protocol: DeclaredProtocol::Detect,
        })
    }

    /// The protocol that is declared for `port`.
    pub fn protocol(&self, port: u16) -> DeclaredProtocol {
        self.ports.get(&port).map(|port| port.protocol).unwrap_or_default()
    }
}

impl InboundPolicy {
    /// Decides whether the client may connect. `cluster` are the cluster's networks.
    pub fn authorize(self, client: Client<'_>, cluster: &[IpNet]) -> Decision {
        let in_cluster = || cluster.iter().any(|net| net.contains(&client.ip));
        let (needs_identity, needs_cluster) = match self {
            InboundPolicy::AllUnauthenticated => (false, false),
            InboundPolicy::AllAuthenticated => (true, false),
            InboundPolicy::ClusterUnauthenticated => (false, true),
            InboundPolicy::ClusterAuthenticated => (true, true),
            InboundPolicy::Deny => return Decision::Deny(DenyReason::Denied),
            InboundPolicy::Audit => return Decision::Audit,
        };
        if needs_cluster && !in_cluster() {
            Decision::Deny(DenyReason::OutsideCluster)
        } else if needs_identity && client.identity.is_none() {
            Decision::Deny(DenyReason::Unauthenticated)
        } else {
            Decision::Allow
        }
    }

    /// Linkerd's name of the policy.
    pub const fn as_str(self) -> &'static str {
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
    pub fn admits(self) -> bool {
        !matches!(self, Decision::Deny(_))
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DenyReason::Denied => "the policy denies all clients",
            DenyReason::Unauthenticated => "the client has no proven identity",
            DenyReason::OutsideCluster => "the client is outside the cluster's networks",
        })
    }
}

fn default_labels(policy: InboundPolicy, port: u16) -> ServerLabels {
    ServerLabels { group: String::new(), kind: "default".to_owned(), name: policy.as_str().to_owned(), port }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_decides_by_identity_and_network() {
        let cluster: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let id: Identity = "web.demo.serviceaccount.identity.linkerd.cluster.local".parse().unwrap();
        let decide = |policy: InboundPolicy, ip: &str, proven: bool| {
            let client = Client { ip: ip.parse().unwrap(), identity: proven.then_some(&id) };
            policy.authorize(client, &cluster)
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
    }

    #[test]
    fn a_port_overrides_the_default() {
        let policies = Policies::new(
            InboundPolicy::AllUnauthenticated,
            [
                (80, InboundPolicy::Deny, "web".to_owned(), DeclaredProtocol::Http1),
                (81, InboundPolicy::AllAuthenticated, String::new(), DeclaredProtocol::Detect),
            ],
        );
        assert_eq!(policies.port(80).policy, InboundPolicy::Deny);
        assert_eq!(policies.port(80).labels.name, "web");
        assert_eq!(policies.port(81).labels.name, "all-authenticated");
        assert_eq!(policies.port(82).policy, InboundPolicy::AllUnauthenticated);
        for (port, protocol) in
            [(80, DeclaredProtocol::Http1), (81, DeclaredProtocol::Detect), (82, DeclaredProtocol::Detect)]
        {
            assert_eq!(
                (policies.port(port).protocol, policies.protocol(port)),
                (protocol, protocol),
                "{port}"
            );
        }
    }
}
