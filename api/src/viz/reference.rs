//! What is addressed: types and names of resources.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A type of resource, written in the singular: `deployment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceType {
    CronJob,
    DaemonSet,
    Deployment,
    Job,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    Pod,
    Service,
    /// Its name is also its namespace.
    Namespace,
}

/// An object of the cluster. A namespace has its own name as `namespace`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResourceRef {
    pub namespace: String,
    #[serde(rename = "type")]
    pub kind: ResourceType,
    pub name: String,
}

/// A word that names no type of resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownType(pub String);

impl ResourceType {
    /// The types of objects that own pods.
    pub const WORKLOADS: [Self; 7] = [
        Self::CronJob,
        Self::DaemonSet,
        Self::Deployment,
        Self::Job,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::StatefulSet,
    ];

    pub const ALL: [Self; 10] = [
        Self::CronJob,
        Self::DaemonSet,
        Self::Deployment,
        Self::Job,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::StatefulSet,
        Self::Pod,
        Self::Service,
        Self::Namespace,
    ];

    /// The word for it in the API. The proxies' metrics have labels of these names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CronJob => "cronjob",
            Self::DaemonSet => "daemonset",
            Self::Deployment => "deployment",
            Self::Job => "job",
            Self::ReplicaSet => "replicaset",
            Self::ReplicationController => "replicationcontroller",
            Self::StatefulSet => "statefulset",
            Self::Pod => "pod",
            Self::Service => "service",
            Self::Namespace => "namespace",
        }
    }

    /// The word for several of them, as in the paths of the Kubernetes API.
    pub fn plural(self) -> &'static str {
        match self {
            Self::CronJob => "cronjobs",
            Self::DaemonSet => "daemonsets",
            Self::Deployment => "deployments",
            Self::Job => "jobs",
            Self::ReplicaSet => "replicasets",
            Self::ReplicationController => "replicationcontrollers",
            Self::StatefulSet => "statefulsets",
            Self::Pod => "pods",
            Self::Service => "services",
            Self::Namespace => "namespaces",
        }
    }

    /// The type with this plural.
    pub fn of_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }

    /// Whether objects of this type own pods.
    pub fn is_workload(self) -> bool {
        Self::WORKLOADS.contains(&self)
    }
}

impl ResourceRef {
    pub fn new(namespace: impl Into<String>, kind: ResourceType, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), kind, name: name.into() }
    }

    pub fn namespace(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { namespace: name.clone(), kind: ResourceType::Namespace, name }
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `NAMESPACE/TYPE/NAME`.
impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}

impl FromStr for ResourceType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownType(text.to_owned()))
    }
}

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = ResourceType::ALL.map(ResourceType::as_str).join(", ");
        write!(f, "{:?} is not a type of resource: use one of {known}", self.0)
    }
}

impl std::error::Error for UnknownType {}
