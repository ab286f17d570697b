//! Nodes with their proxies, and the control plane.

use serde::{Deserialize, Serialize};

use super::figures::PodCount;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeItem {
    pub name: String,
    pub ready: bool,
    pub pods: PodCount,
    pub per_namespace: Vec<NamespacePods>,
    pub proxy: Option<NodeProxy>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespacePods {
    pub namespace: String,
    pub meshed: u32,
    pub running: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeProxy {
    pub version: String,
    pub state: NodeProxyState,
    /// Why it is not ready.
    pub reason: Option<String>,
    pub started_at: Option<f64>,
    pub last_scrape_at: Option<f64>,
    pub memory_bytes: Option<f64>,
    /// Cores in use, averaged over the window.
    pub cpu_cores: Option<f64>,
    pub connections: f64,
    pub connections_limit: Option<f64>,
    pub control_plane_connected: bool,
    /// The first of its certificates that expires.
    pub certificate_expires_at: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeProxyState {
    Ready,
    Starting,
    NotScraped,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ControlPlane {
    pub components: Vec<ComponentItem>,
    pub namespaces: Vec<NamespacePods>,
    pub issuer: Option<CertificateInfo>,
    pub anchors: Vec<CertificateInfo>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentItem {
    pub name: String,
    pub namespace: String,
    pub version: Option<String>,
    pub desired: u32,
    pub pods: Vec<ComponentPod>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentPod {
    pub name: String,
    pub phase: String,
    pub ready: bool,
    pub restarts: u32,
    pub started_at: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateInfo {
    pub subject: String,
    pub not_before: f64,
    pub expires_at: f64,
}
