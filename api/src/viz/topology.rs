//! Who talks to whom.

use serde::{Deserialize, Serialize};

use super::{
    edge::Secured,
    figures::{HttpStats, PodCount, TcpStats},
    reference::ResourceRef,
};

/// The id of the node that stands for everything without a pod.
pub const OUTSIDE: &str = "outside";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    pub nodes: Vec<TopologyNode>,
    pub edges: Vec<TopologyEdge>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopologyNode {
    /// `NAMESPACE/TYPE/NAME`, or [`OUTSIDE`].
    pub id: String,
    pub label: String,
    /// `None` for the outside.
    pub namespace: Option<String>,
    pub resource: Option<ResourceRef>,
    pub kind: NodeKind,
    pub pods: Option<PodCount>,
    pub http: Option<HttpStats>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    Workload,
    /// None of its pods is meshed.
    Unmeshed,
    Outside,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopologyEdge {
    /// `SOURCE>TARGET`.
    pub id: String,
    pub source: String,
    pub target: String,
    pub http: Option<HttpStats>,
    pub tcp: TcpStats,
    /// The worst of its connections.
    pub secured: Secured,
}
