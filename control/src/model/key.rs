//! Kinds and names of objects.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of object that weft reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Namespace,
    ServiceAccount,
    Service,
    EndpointSlice,
    Pod,
    Server,
}

/// The name of a namespaced object whose kind is clear from the context.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    pub namespace: String,
    pub name: String,
}

/// Identifies an object in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    /// Empty for kinds without a namespace.
    pub namespace: String,
    pub name: String,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Namespace, Self::ServiceAccount, Self::Service, Self::EndpointSlice, Self::Pod, Self::Server];

    /// The kind with this `apiVersion` and `kind`, if weft reads it.
    pub(crate) fn of(api_version: &str, kind: &str) -> Option<Self> {
        Some(match (api_version, kind) {
            ("v1", "Namespace") => Self::Namespace,
            ("v1", "ServiceAccount") => Self::ServiceAccount,
            ("v1", "Service") => Self::Service,
            ("v1", "Pod") => Self::Pod,
            ("discovery.k8s.io/v1", "EndpointSlice") => Self::EndpointSlice,
            (version, "Server") if version.starts_with("policy.linkerd.io/") => Self::Server,
            _ => return None,
        })
    }

    fn is_namespaced(self) -> bool {
        self != Self::Namespace
    }
}

impl Key {
    /// An object without a namespace is in the namespace `default`, if its kind has namespaces at all.
    pub(crate) fn new(kind: Kind, namespace: Option<&str>, name: &str) -> Self {
        let namespace = match kind.is_namespaced() {
            true => namespace.filter(|namespace| !namespace.is_empty()).unwrap_or("default"),
            false => "",
        };
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl From<&Key> for Name {
    fn from(key: &Key) -> Self {
        Self { namespace: key.namespace.clone(), name: key.name.clone() }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}
