//! Linkerd's `policy.linkerd.io` Server.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::Deserialize;

/// A port of the pods that it selects: its protocol, and who may connect to it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Server {
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: ServerSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerSpec {
    /// An empty selector selects all pods of the namespace.
    pub pod_selector: Option<LabelSelector>,
    /// Selects workloads outside the cluster; a Server with this and without a pod selector selects no pod.
    pub external_workload_selector: Option<LabelSelector>,
    /// The container port, by number or name.
    pub port: Option<IntOrString>,
    /// `unknown` if it is absent.
    pub proxy_protocol: Option<String>,
    /// `deny` if it is absent.
    pub access_policy: Option<String>,
}
