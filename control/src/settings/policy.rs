//! Inbound policies: who may connect to a port.

use std::{fmt, str::FromStr};

/// An inbound policy. The names are Linkerd's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Everybody.
    #[default]
    AllUnauthenticated,
    /// Clients that have an identity of the mesh.
    AllAuthenticated,
    /// Clients with an address of the cluster's networks.
    ClusterUnauthenticated,
    /// Clients with an address of the cluster's networks and an identity of the mesh.
    ClusterAuthenticated,
    /// Nobody.
    Deny,
    /// Everybody; connections without an identity are logged.
    Audit,
}

const NAMES: [(&str, Policy); 6] = [
    ("all-unauthenticated", Policy::AllUnauthenticated),
    ("all-authenticated", Policy::AllAuthenticated),
    ("cluster-unauthenticated", Policy::ClusterUnauthenticated),
    ("cluster-authenticated", Policy::ClusterAuthenticated),
    ("deny", Policy::Deny),
    ("audit", Policy::Audit),
];

impl Policy {
    /// Whether connections that go past the proxy in plaintext would break this policy.
    pub fn needs_proxy(self) -> bool {
        matches!(self, Self::AllAuthenticated | Self::ClusterAuthenticated | Self::Deny)
    }

    /// The names of all policies, for error texts.
    pub fn names() -> String {
        NAMES.map(|(name, _)| name).join(", ")
    }
}

impl FromStr for Policy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        NAMES.iter().find(|(name, _)| *name == text).map(|(_, policy)| *policy).ok_or(())
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, policy)| policy == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}
