//! The labels of series.
//!
//! Names and values are Linkerd's, so that its dashboards and queries work unchanged. A proxy per node serves many
//! pods, so it writes the labels itself that Linkerd's scrape configuration would add (namespace, pod, owner).

mod encode;
mod names;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

pub(super) use self::encode::{display, label, write_destination, write_server, write_target};
pub use self::names::sanitize;
use super::intern::Owned;
use crate::{
    net::{Direction, Peer},
    tls::Identity,
};

/// Why a connection has no TLS: values of `no_tls_reason`.
pub mod reason {
    /// The peer is in the same pod.
    pub const LOOPBACK: &str = "loopback";
    /// Discovery knows no identity for the endpoint.
    pub const NOT_PROVIDED_BY_SERVICE_DISCOVERY: &str = "not_provided_by_service_discovery";
    /// The client sent no TLS that the proxy terminates.
    pub const NO_TLS_FROM_REMOTE: &str = "no_tls_from_remote";
    /// The same of a client that is a process of the node, as the kubelet with its health checks.
    pub const FROM_NODE: &str = "from_node";
}

/// The workload of a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkloadLabels {
    pub namespace: String,
    pub pod: String,
    extra: BTreeMap<String, String>,
}

/// How a leg is secured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tls {
    /// mTLS; the peer proved this identity.
    Established(Identity),
    /// TLS was terminated, but the client had no certificate.
    Anonymous,
    /// Both ends are on this node: the kernel proves the identity, TLS is not needed.
    Local(Identity),
    /// Plaintext, for one of [`reason`].
    NoIdentity(&'static str),
    /// The application's own TLS, passed through.
    Opaque {
        /// The server name that the client requested.
        sni: Option<String>,
    },
}

/// The Server resource, or default policy, of a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerLabels {
    /// API group; empty for a default.
    pub group: String,
    /// `server`, or `default`.
    pub kind: String,
    /// The resource's name, or the default policy's.
    pub name: String,
    pub port: u16,
}

/// What let a client in: a ServerAuthorization, an AuthorizationPolicy, or a default.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorizationLabels {
    /// API group; empty for a default.
    pub group: String,
    /// `serverauthorization`, `authorizationpolicy`, or `default`.
    pub kind: String,
    /// The resource's name, the default policy's, or `probe`.
    pub name: String,
}

impl AuthorizationLabels {
    pub fn default_of(name: &str) -> Self {
        Self { group: String::new(), kind: "default".to_owned(), name: name.to_owned() }
    }
}

/// The labels of a connection's leg.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransportLabels {
    pub direction: Direction,
    pub peer: Peer,
    pub workload: Arc<WorkloadLabels>,
    pub tls: Tls,
    /// The address that the leg goes to.
    pub target: SocketAddr,
    /// The policy of the port; for inbound connections.
    pub server: Option<Arc<ServerLabels>>,
    /// The `dst_*` labels of the endpoint; for outbound connections.
    pub destination: Option<Arc<BTreeMap<String, String>>>,
}

/// The labels of an authorization decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DecisionLabels {
    /// The destination.
    pub workload: Arc<WorkloadLabels>,
    pub target: SocketAddr,
    /// How the connection of the client is secured.
    pub tls: Tls,
    /// The policy of the port.
    pub server: Option<Arc<ServerLabels>>,
    /// The authorization that allowed the client, if any.
    pub authz: Option<Arc<AuthorizationLabels>>,
}

/// The labels of round-trip times and retransmissions, which do not include the endpoint's address and security.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PathLabels {
    pub(super) direction: Direction,
    pub(super) workload: Arc<WorkloadLabels>,
    pub(super) destination: Option<Arc<BTreeMap<String, String>>>,
}

/// The labels of an error counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ErrorLabels {
    pub(super) workload: Arc<WorkloadLabels>,
    pub(super) error: &'static str,
}

// A workload's labels are created once, when it is enrolled, so their address identifies it.
macro_rules! owned_by_workload {
    ($($labels:ty),*) => { $(
        impl Owned for $labels {
            fn owner(&self) -> usize {
                Arc::as_ptr(&self.workload).addr()
            }
        }
    )* };
}
owned_by_workload!(TransportLabels, DecisionLabels, PathLabels, ErrorLabels);

/// Adds one label to a set.
pub(super) struct With<'a, L>(pub(super) &'a L, pub(super) (&'static str, &'static str));

impl WorkloadLabels {
    /// `extra` are the owner's labels (`deployment`, …). Their names are sanitized.
    pub fn new(
        namespace: impl Into<String>,
        pod: impl Into<String>,
        extra: &BTreeMap<String, String>,
    ) -> Self {
        let mut extra = sanitize("", extra);
        // A series with a duplicate label makes the whole scrape invalid.
        extra.retain(|name, _| !names::is_reserved(name) && !name.starts_with("dst_"));
        Self { namespace: namespace.into(), pod: pod.into(), extra }
    }

    /// All of them, by name.
    pub fn to_map(&self) -> HashMap<String, String> {
        let own = [("namespace", &self.namespace), ("pod", &self.pod)];
        let own = own.map(|(name, value)| (name.to_owned(), value.clone()));
        self.extra.iter().map(|(name, value)| (name.clone(), value.clone())).chain(own).collect()
    }
}

impl Tls {
    /// The proven identity of the peer, if any.
    pub const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Established(identity) | Self::Local(identity) => Some(identity),
            Self::Anonymous | Self::NoIdentity(_) | Self::Opaque { .. } => None,
        }
    }
}
