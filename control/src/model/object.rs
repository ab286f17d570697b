//! The objects themselves, one variant for each kind.

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Pod, Service, ServiceAccount},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    authorization::{AuthorizationPolicy, MeshTLSAuthentication, NetworkAuthentication, ServerAuthorization},
    key::{Key, Kind},
    server::Server,
};

/// An object of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Namespace(Box<Namespace>),
    ServiceAccount(Box<ServiceAccount>),
    Service(Box<Service>),
    EndpointSlice(Box<EndpointSlice>),
    Pod(Box<Pod>),
    /// A Node, or an owner of pods: see [`Kind::is_metadata_only`].
    MetadataOnly(Kind, Box<ObjectMeta>),
    Server(Box<Server>),
    ServerAuthorization(Box<ServerAuthorization>),
    AuthorizationPolicy(Box<AuthorizationPolicy>),
    MeshTLSAuthentication(Box<MeshTLSAuthentication>),
    NetworkAuthentication(Box<NetworkAuthentication>),
}

impl Object {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::ServiceAccount(_) => Kind::ServiceAccount,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Pod(_) => Kind::Pod,
            Self::MetadataOnly(kind, _) => *kind,
            Self::Server(_) => Kind::Server,
            Self::ServerAuthorization(_) => Kind::ServerAuthorization,
            Self::AuthorizationPolicy(_) => Kind::AuthorizationPolicy,
            Self::MeshTLSAuthentication(_) => Kind::MeshTLSAuthentication,
            Self::NetworkAuthentication(_) => Kind::NetworkAuthentication,
        }
    }

    pub fn key(&self) -> Key {
        let metadata = self.metadata();
        Key::new(self.kind(), metadata.namespace.as_deref(), metadata.name.as_deref().unwrap_or_default())
    }

    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Namespace(object) => &object.metadata,
            Self::ServiceAccount(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::MetadataOnly(_, metadata) => metadata,
            Self::Server(object) => &object.metadata,
            Self::ServerAuthorization(object) => &object.metadata,
            Self::AuthorizationPolicy(object) => &object.metadata,
            Self::MeshTLSAuthentication(object) => &object.metadata,
            Self::NetworkAuthentication(object) => &object.metadata,
        }
    }
}
