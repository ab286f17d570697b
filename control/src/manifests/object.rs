//! Which Kubernetes objects does weft understand, and how is one told from another?

use std::fmt;

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Pod, Service, ServiceAccount},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{path::FieldPath, problem::Finding, server::Server};

/// A kind of object that weft reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are Kubernetes' own
pub enum Kind {
    Namespace,
    ServiceAccount,
    Service,
    EndpointSlice,
    Pod,
    Server,
}

/// The name of an object in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for a [`Kind::Namespace`].
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An object.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Object {
    Namespace(Box<Namespace>),
    ServiceAccount(Box<ServiceAccount>),
    Service(Box<Service>),
    EndpointSlice(Box<EndpointSlice>),
    Pod(Box<Pod>),
    Server(Box<Server>),
}

impl Kind {
    /// The kind that `apiVersion` and `kind` mean, if weft reads it.
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

    /// Whether objects of this kind live in a namespace.
    pub(crate) fn is_namespaced(self) -> bool {
        self != Self::Namespace
    }
}

impl Object {
    /// Reads an object of `kind`; the error names the field.
    pub(crate) fn from_json(kind: Kind, value: &Value) -> Result<Self, Finding> {
        Ok(match kind {
            Kind::Namespace => Self::Namespace(read(value)?),
            Kind::ServiceAccount => Self::ServiceAccount(read(value)?),
            Kind::Service => Self::Service(read(value)?),
            Kind::EndpointSlice => Self::EndpointSlice(read(value)?),
            Kind::Pod => Self::Pod(read(value)?),
            Kind::Server => Self::Server(read(value)?),
        })
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Namespace(object) => &object.metadata,
            Self::ServiceAccount(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::Server(object) => &object.metadata,
        }
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<Box<T>, Finding> {
    serde_path_to_error::deserialize(value).map(Box::new).map_err(|error| {
        Finding::new(
            FieldPath::from(error.path()),
            error.inner().to_string(),
            "write it as the Kubernetes API reference says",
        )
    })
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
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
