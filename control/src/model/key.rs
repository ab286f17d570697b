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
    Node,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    Server,
    ServerAuthorization,
    AuthorizationPolicy,
    MeshTLSAuthentication,
    NetworkAuthentication,
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

/// Linkerd's API group of the policy kinds.
const POLICY_GROUP: &str = "policy.linkerd.io";

impl Kind {
    pub const ALL: [Self; 17] = [
        Self::Namespace,
        Self::ServiceAccount,
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Node,
        Self::Deployment,
        Self::ReplicaSet,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Job,
        Self::CronJob,
        Self::Server,
        Self::ServerAuthorization,
        Self::AuthorizationPolicy,
        Self::MeshTLSAuthentication,
        Self::NetworkAuthentication,
    ];

    /// The kind with this `apiVersion` and `kind`, if weft reads it.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Some(match (api_version, kind) {
            ("v1", "Namespace") => Self::Namespace,
            ("v1", "ServiceAccount") => Self::ServiceAccount,
            ("v1", "Service") => Self::Service,
            ("v1", "Pod") => Self::Pod,
            ("v1", "Node") => Self::Node,
            ("discovery.k8s.io/v1", "EndpointSlice") => Self::EndpointSlice,
            ("apps/v1", "Deployment") => Self::Deployment,
            ("apps/v1", "ReplicaSet") => Self::ReplicaSet,
            ("apps/v1", "StatefulSet") => Self::StatefulSet,
            ("apps/v1", "DaemonSet") => Self::DaemonSet,
            ("batch/v1", "Job") => Self::Job,
            ("batch/v1", "CronJob") => Self::CronJob,
            (version, kind) => {
                let (POLICY_GROUP, version) = version.split_once('/')? else { return None };
                match (version, kind) {
                    // All versions of a Server have the fields that weft reads.
                    (_, "Server") => Self::Server,
                    ("v1beta1", "ServerAuthorization") => Self::ServerAuthorization,
                    ("v1alpha1", "AuthorizationPolicy") => Self::AuthorizationPolicy,
                    ("v1alpha1", "MeshTLSAuthentication") => Self::MeshTLSAuthentication,
                    ("v1alpha1", "NetworkAuthentication") => Self::NetworkAuthentication,
                    _ => return None,
                }
            }
        })
    }

    /// Whether objects of this kind belong to a namespace.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node)
    }

    /// Whether objects of this kind own pods, directly or through another object.
    pub fn owns_pods(self) -> bool {
        matches!(
            self,
            Self::Deployment
                | Self::ReplicaSet
                | Self::StatefulSet
                | Self::DaemonSet
                | Self::Job
                | Self::CronJob
        )
    }

    /// Whether weft reads only the metadata of objects of this kind.
    pub fn is_metadata_only(self) -> bool {
        self == Self::Node || self.owns_pods()
    }
}

impl Key {
    /// An object without a namespace is in the namespace `default`, if its kind has namespaces at all.
    pub fn new(kind: Kind, namespace: Option<&str>, name: &str) -> Self {
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
