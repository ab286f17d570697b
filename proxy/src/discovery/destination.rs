//! What serves a destination address.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    balance::{Balancer, Endpoint},
    refusal::Reason,
};

/// What serves an address.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A service: one of its endpoints is picked for each connection.
    Service {
        /// `name.namespace.svc.cluster.local:port`.
        authority: String,
        /// Its endpoints, kept up to date.
        endpoints: ServiceEndpoints,
        /// Metric labels of the service, `dst_*`; the endpoints have their own.
        labels: Arc<BTreeMap<String, String>>,
        /// Its bytes are to be forwarded as they are.
        opaque: bool,
    },
    /// A pod, asked for by its own address.
    Endpoint(Endpoint),
    /// Nothing that the control plane knows: forward untouched.
    External,
}

/// The endpoints of a service, by address family.
#[derive(Clone, Debug, Default)]
pub struct ServiceEndpoints {
    /// Those of the family that was dialled; all of them where none is of that family.
    pub same_family: Arc<Balancer>,
    /// Those of the other family, of the same pods: tried where nobody listens at the first ones.
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

/// Why it is not known what serves an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The control plane has said nothing.
    #[error("{dst}: no answer to {call} from the control plane within {after:?}")]
    Timeout {
        /// What was asked for.
        dst: SocketAddr,
        /// The call that is not answered.
        call: &'static str,
        /// How long that was waited for.
        after: Duration,
    },
    /// The control plane cannot be asked.
    #[error("{dst}: {call} fails at the control plane, gave up after {after:?}: {reason}")]
    Unavailable {
        /// What was asked for.
        dst: SocketAddr,
        /// The call that fails.
        call: &'static str,
        /// The last failure.
        reason: Arc<str>,
        /// How long a success was waited for.
        after: Duration,
    },
    /// Too many destinations are in use.
    #[error("{dst}: {limit} destinations are in use already, no room for another one")]
    Full {
        /// What was asked for.
        dst: SocketAddr,
        /// The most that are kept.
        limit: usize,
    },
}

impl DiscoveryError {
    /// Whether the control plane has not been heard, rather than the destination not been asked for.
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
