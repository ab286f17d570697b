//! The destination behind an address: a service, a pod or an external address.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    balance::{Balancer, Endpoint},
    policy::DeclaredProtocol,
    refusal::Reason,
};

/// What is behind an address.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A service: one of its endpoints is picked for each connection.
    Service {
        /// `name.namespace.svc.cluster.local:port`.
        authority: String,
        /// Kept up to date.
        endpoints: ServiceEndpoints,
        /// Metric labels of the service, `dst_*`; the endpoints have their own.
        labels: Arc<BTreeMap<String, String>>,
        /// Its bytes are forwarded without protocol detection.
        opaque: bool,
        /// What the service declares about its protocol, unless it is opaque.
        declared: DeclaredProtocol,
    },
    /// A pod, by its own address.
    Endpoint(Endpoint),
    /// An address that the control plane does not know: connections are forwarded as they are.
    External,
}

/// The endpoints of a service, by address family.
#[derive(Clone, Debug, Default)]
pub struct ServiceEndpoints {
    /// Those of the family that was dialled; if there are none, all.
    pub same_family: Arc<Balancer>,
    /// Those of the other family, of the same pods. They are tried if none of the first ones can be reached.
    pub other_family: Arc<Balancer>,
}

impl ServiceEndpoints {
    /// Replaces the endpoints of a service that was dialled at `dialled`.
    pub(super) fn update(&self, dialled: SocketAddr, endpoints: Vec<Endpoint>) {
        let (same, other): (Vec<_>, Vec<_>) =
            endpoints.into_iter().partition(|endpoint| endpoint.addr.is_ipv6() == dialled.is_ipv6());
        let (same, other) = if same.is_empty() { (other, same) } else { (same, other) };
        self.same_family.update(same);
        self.other_family.update(other);
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.same_family, &other.same_family)
    }
}

/// Why the lookup of a destination failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The control plane did not answer in time.
    #[error("{dst}: no answer to {call} from the control plane within {after:?}")]
    Timeout {
        dst: SocketAddr,
        call: &'static str,
        /// How long the lookup waited.
        after: Duration,
    },
    /// Calls to the control plane fail.
    #[error("{dst}: {call} failed at the control plane, gave up after {after:?}: {reason}")]
    Unavailable {
        dst: SocketAddr,
        call: &'static str,
        /// The last failure.
        reason: Arc<str>,
        /// How long the lookup waited.
        after: Duration,
    },
    /// Too many destinations are in use.
    #[error("{dst}: no room for another destination, {limit} are in use")]
    Full {
        dst: SocketAddr,
        /// The maximum number of destinations.
        limit: usize,
    },
}

impl DiscoveryError {
    /// Whether the control plane was asked and did not give an answer.
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Unavailable { .. })
    }

    /// For metrics and logs.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Timeout { .. } | Self::Unavailable { .. } => Reason::ControlPlaneUnavailable,
            Self::Full { .. } => Reason::TooManyDestinations,
        }
    }
}
