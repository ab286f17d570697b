//! Pods and services.

use serde::{Deserialize, Serialize};

use super::{
    figures::{HttpStats, Spark, TcpStats},
    reference::ResourceRef,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodItem {
    pub namespace: String,
    pub name: String,
    pub owner: Option<ResourceRef>,
    pub node: Option<String>,
    pub phase: String,
    pub ready: bool,
    pub started_at: Option<f64>,
    pub meshed: bool,
    /// `None` for a pod that is not meshed.
    pub proxy: Option<PodProxy>,
    pub tap: TapState,
    pub http: Option<HttpStats>,
    pub tcp: Option<TcpStats>,
    pub spark: Option<Spark>,
}

/// How the node's proxy serves a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodProxy {
    pub state: PodProxyState,
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodProxyState {
    Joining,
    Served,
    Leaving,
    Refused,
    NoProxy,
}

/// Whether live calls can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TapState {
    Allowed,
    Disabled,
    NotMeshed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceItem {
    pub namespace: String,
    pub name: String,
    pub cluster_ip: Option<String>,
    pub ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    pub name: Option<String>,
    pub port: u16,
    pub protocol: String,
}
