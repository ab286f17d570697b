//! Who may connect where nothing more specific is said?

use std::{fmt, str::FromStr};

/// An inbound policy, with Linkerd's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Everybody.
    #[default]
    AllUnauthenticated,
    /// Everybody who has an identity of the mesh.
    AllAuthenticated,
    /// Every address of the cluster.
    ClusterUnauthenticated,
    /// Every address of the cluster that has an identity of the mesh.
    ClusterAuthenticated,
    /// Nobody.
    Deny,
    /// Everybody, and it is counted.
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
    /// Whether this policy would be broken by letting plaintext pass unchecked.
    pub fn needs_proxy(self) -> bool {
        matches!(self, Self::AllAuthenticated | Self::ClusterAuthenticated | Self::Deny)
    }

    /// The names of all policies, for messages.
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
