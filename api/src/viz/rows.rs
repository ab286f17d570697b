//! Rows of tables: resources, routes, authorizations, paths.

use serde::{Deserialize, Serialize};

use super::{
    figures::{HttpStats, PodCount, Spark, TcpStats},
    reference::ResourceRef,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatRow {
    #[serde(flatten)]
    pub resource: ResourceRef,
    /// `Running`, `Pending`, `2/3 ready`, …; `None` for what has no status.
    pub status: Option<String>,
    /// `None` for a service.
    pub pods: Option<PodCount>,
    pub http: Option<HttpStats>,
    pub tcp: Option<TcpStats>,
    pub spark: Option<Spark>,
    pub split: Option<Split>,
}

/// A backend of a service whose traffic is split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    pub apex: String,
    pub leaf: String,
    pub weight: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteRow {
    /// `[DEFAULT]` for what no route matches.
    pub route: String,
    /// The service, or the authority.
    pub service: String,
    pub http: HttpStats,
    /// With retries: what was sent, beside what the client saw.
    pub actual: Option<ActualStats>,
    pub spark: Option<Spark>,
}

/// What a resource sent, by the service that was asked and by who answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboundRow {
    /// `None` if no service was asked, but an address.
    pub service: Option<ResourceRef>,
    /// `None` if nobody in the cluster answered.
    pub backend: Option<ResourceRef>,
    pub http: HttpStats,
    pub tcp: TcpStats,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActualStats {
    pub success_rate: Option<f64>,
    pub rps: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthzRow {
    pub server: String,
    pub route: String,
    /// `None` in the row of what nothing allowed.
    pub authorization: Option<String>,
    /// Requests and connections.
    pub denied_rps: f64,
    pub http: Option<HttpStats>,
    /// Connections within the window that are not read as HTTP: how many were allowed, or in the row of what nothing
    /// allowed, denied.
    #[serde(default)]
    pub connections: f64,
}

/// Requests of one method and path. The proxies keep a bounded table of those that fail most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStats {
    pub method: String,
    pub path: String,
    pub requests: u64,
    pub failures: u64,
}
