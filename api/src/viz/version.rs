//! Versions, extensions, and the list of all resources.

use serde::{Deserialize, Serialize};

use super::{figures::LatencyMs, reference::ResourceRef};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    pub version: String,
    pub cluster_domain: String,
    pub control_plane_namespace: String,
    pub viz_namespace: String,
    pub source: ObjectSource,
    pub prometheus: PrometheusInfo,
    /// `None` if no Grafana is configured.
    pub grafana: Option<Grafana>,
    /// Words that a CLI command on this cluster starts with, for example `weft`, `viz`.
    pub cli: Vec<String>,
}

/// Where objects come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectSource {
    Kubernetes,
    /// A dev VM without Kubernetes.
    Manifests,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusInfo {
    pub available: bool,
    pub retention_seconds: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grafana {
    /// Has no slash at its end.
    pub url: String,
    pub uid_prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceItem {
    #[serde(flatten)]
    pub resource: ResourceRef,
    pub meshed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionItem {
    pub name: String,
    pub description: String,
    pub installed: bool,
    pub namespace: Option<String>,
    pub version: Option<String>,
    /// The CLI command that installs it.
    pub install: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayItem {
    pub cluster: String,
    pub alive: bool,
    pub paired_services: u32,
    pub latency_ms: LatencyMs,
}
