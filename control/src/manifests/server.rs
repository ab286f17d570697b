//! What does a `policy.linkerd.io` Server say?

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::Deserialize;

/// Linkerd's Server: a port of the pods that it selects, and who may connect to it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Server {
    /// Name, namespace and labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The rest.
    #[serde(default)]
    pub spec: ServerSpec,
}

/// The specification of a [`Server`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerSpec {
    /// The pods it is about; an empty selector means all of the namespace.
    pub pod_selector: Option<LabelSelector>,
    /// The container port, by number or name.
    pub port: Option<IntOrString>,
    /// What is spoken there; `opaque` is the value that matters to TCP.
    pub proxy_protocol: Option<String>,
    /// Who may connect; `deny` if it is absent.
    pub access_policy: Option<String>,
}
