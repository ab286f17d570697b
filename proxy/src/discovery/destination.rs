//! What can a destination be?

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use crate::balance::{Balancer, Endpoint};

/// What serves an address.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A service: one of its endpoints is picked for each connection.
    Service {
        /// `name.namespace.svc.cluster.local:port`.
        authority: String,
        /// Its endpoints, kept up to date.
        balancer: Arc<Balancer>,
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
    pub const fn is_silence(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Unavailable { .. })
    }

    /// A short stable name, for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "discovery timeout",
            Self::Unavailable { .. } => "discovery unavailable",
            Self::Full { .. } => "discovery full",
        }
    }
}
