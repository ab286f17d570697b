//! Linkerd's `policy.linkerd.io` kinds that say which clients may connect.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;

/// Admits clients to Servers of its namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ServerAuthorization {
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: ServerAuthorizationSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerAuthorizationSpec {
    pub server: ServerSelector,
    pub client: Client,
}

/// Servers by name or by their labels.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServerSelector {
    pub name: Option<String>,
    pub selector: Option<LabelSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Client {
    /// Any address if it is absent.
    pub networks: Option<Vec<Network>>,
    /// Clients need no identity.
    pub unauthenticated: bool,
    #[serde(rename = "meshTLS")]
    pub mesh_tls: Option<MeshTls>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTls {
    /// Clients must use the mesh's TLS, and need no identity.
    #[serde(rename = "unauthenticatedTLS")]
    pub unauthenticated_tls: bool,
    pub identities: Option<Vec<String>>,
    pub service_accounts: Option<Vec<ServiceAccountRef>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ServiceAccountRef {
    pub name: String,
    /// The authorization's own namespace if it is absent.
    pub namespace: Option<String>,
}

/// Admits clients that meet all its authentications to a Server or to all Servers of its namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct AuthorizationPolicy {
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: AuthorizationPolicySpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicySpec {
    pub target_ref: ObjectRef,
    /// A policy without this field admits nobody; one with an empty list, everybody.
    pub required_authentication_refs: Option<Vec<ObjectRef>>,
}

/// A reference to an object of any kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ObjectRef {
    /// Empty, absent or `core` for Kubernetes' core group.
    pub group: Option<String>,
    pub kind: String,
    pub name: String,
    /// The referring object's namespace if it is absent.
    pub namespace: Option<String>,
}

/// Clients by identity.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct MeshTLSAuthentication {
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: MeshTLSAuthenticationSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTLSAuthenticationSpec {
    /// Whole identities, `*` for every identity, or `*.` and the end of identities.
    pub identities: Option<Vec<String>>,
    /// ServiceAccounts, or Namespaces for all service accounts of them.
    pub identity_refs: Option<Vec<ObjectRef>>,
}

/// Clients by address.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct NetworkAuthentication {
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: NetworkAuthenticationSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NetworkAuthenticationSpec {
    pub networks: Vec<Network>,
}

/// A network without some parts of it. Each is a CIDR or one address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Network {
    pub cidr: String,
    pub except: Option<Vec<String>>,
}

impl ObjectRef {
    /// Whether it refers to this kind. The groups `""` and `core` are the same, and the case of kinds does not matter.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        let core = |group: &str| group.is_empty() || group.eq_ignore_ascii_case("core");
        let own = self.group.as_deref().unwrap_or_default();
        let is_group = own.eq_ignore_ascii_case(group) || (core(own) && core(group));
        is_group && self.kind.eq_ignore_ascii_case(kind)
    }
}
