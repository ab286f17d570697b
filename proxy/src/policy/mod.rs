//! Linkerd's default inbound policies, for a workload and for single ports.
//!
//! One function decides, for connections from other nodes and from this one alike.
#![forbid(unsafe_code)]

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;

use crate::{metrics::ServerLabels, tls::Identity};

/// Who may connect, where no finer policy says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InboundPolicy {
    /// Anybody.
    AllUnauthenticated,
    /// Whoever has proven an identity.
    AllAuthenticated,
    /// Anybody from the cluster's networks.
    ClusterUnauthenticated,
    /// Whoever has proven an identity, from the cluster's networks.
    ClusterAuthenticated,
    /// Nobody.
    Deny,
    /// Anybody; what would have been denied is counted and logged.
    Audit,
}

/// A client, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Where it comes from.
    pub ip: IpAddr,
    /// What it has proven: by certificate, or by the kernel for workloads of this node.
    pub identity: Option<&'a Identity>,
}

/// What a policy says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It may, by the policy of that name.
    Allow,
    /// It may, because the policy only watches.
    Audit,
    /// It may not.
    Deny(DenyReason),
}

/// Why a client may not come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenyReason {
    /// The policy lets nobody in.
    Denied,
    /// It has proven no identity.
    Unauthenticated,
    /// It comes from outside the cluster's networks.
    OutsideCluster,
}

/// The policy of a port, with the labels under which it is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct PortPolicy {
    /// What holds.
    pub policy: InboundPolicy,
    /// Its name.
    pub labels: Arc<ServerLabels>,
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
        ports: impl IntoIterator<Item = (u16, InboundPolicy, String)>,
    ) -> Self {
        let ports = ports.into_iter().map(|(port, policy, server)| {
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
            (port, PortPolicy { policy, labels: Arc::new(labels) })
        });
        Policies { default, ports: ports.collect() }
    }

    /// What holds on `port`.
    pub fn port(&self, port: u16) -> PortPolicy {
        self.ports.get(&port).cloned().unwrap_or_else(|| PortPolicy {
            policy: self.default,
            labels: Arc::new(default_labels(self.default, port)),
        })
    }
}

impl InboundPolicy {
    /// Decides. `cluster` are the cluster's networks.
    pub fn authorize(self, client: Client<'_>, cluster: &[IpNet]) -> Decision {
        let within = || cluster.iter().any(|net| net.contains(&client.ip));
        let (identity, network) = match self {
            InboundPolicy::AllUnauthenticated => (false, false),
            InboundPolicy::AllAuthenticated => (true, false),
            InboundPolicy::ClusterUnauthenticated => (false, true),
            InboundPolicy::ClusterAuthenticated => (true, true),
            InboundPolicy::Deny => return Decision::Deny(DenyReason::Denied),
            InboundPolicy::Audit => return Decision::Audit,
        };
        if network && !within() {
            Decision::Deny(DenyReason::OutsideCluster)
        } else if identity && client.identity.is_none() {
            Decision::Deny(DenyReason::Unauthenticated)
        } else {
            Decision::Allow
        }
    }

    /// Linkerd's name for it.
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
    /// Whether the client comes in.
    pub fn admits(self) -> bool {
        !matches!(self, Decision::Deny(_))
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DenyReason::Denied => "the policy lets nobody in",
            DenyReason::Unauthenticated => "the client has proven no identity",
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
    fn each_policy() {
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
                (80, InboundPolicy::Deny, "web".to_owned()),
                (81, InboundPolicy::AllAuthenticated, String::new()),
            ],
        );
        assert_eq!(policies.port(80).policy, InboundPolicy::Deny);
        assert_eq!(policies.port(80).labels.name, "web");
        assert_eq!(policies.port(81).labels.name, "all-authenticated");
        assert_eq!(policies.port(82).policy, InboundPolicy::AllUnauthenticated);
    }
}
