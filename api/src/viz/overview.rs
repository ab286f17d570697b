//! What is wrong now, and totals.

use serde::{Deserialize, Serialize};

use super::{
    figures::{HttpStats, PodCount, Series},
    reference::ResourceRef,
    rows::PathStats,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    pub totals: Totals,
    pub series: Series,
    /// The worst first.
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub namespaces: u32,
    pub nodes: NodeCount,
    pub pods: PodCount,
    pub http: HttpStats,
    pub secured: SecuredCount,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCount {
    pub total: u32,
    pub with_proxy: u32,
}

/// Open connections between meshed pods, and to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecuredCount {
    /// Those between meshed pods that are secured.
    pub connections: f64,
    /// Those between meshed pods.
    pub total: f64,
    /// Those in plaintext from what is not meshed, the node left out.
    pub plaintext_from_outside: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// Stays the same while the problem lasts.
    pub id: String,
    pub severity: Severity,
    /// When it began; `None` if that is before the history.
    pub since: Option<f64>,
    /// One sentence, for clients that do not know the kind.
    pub summary: String,
    #[serde(flatten)]
    pub kind: ProblemKind,
}

/// The order is from worst to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Critical,
    Warning,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ProblemKind {
    SuccessRate {
        resource: ResourceRef,
        success_rate: f64,
        /// Of the hour before, or of as much of it as is known.
        baseline: Option<f64>,
        /// How much that is.
        baseline_seconds: f64,
        rps: f64,
        worst: Option<PathStats>,
    },
    Latency {
        resource: ResourceRef,
        p99_ms: f64,
        #[serde(rename = "baselineP99Ms")]
        baseline_p99_ms: f64,
        baseline_seconds: f64,
        rps: f64,
    },
    Plaintext {
        source: ResourceRef,
        destination: ResourceRef,
        reason: String,
        connections: f64,
    },
    Denied {
        resource: ResourceRef,
        source: Option<ResourceRef>,
        client_id: Option<String>,
        rps: f64,
    },
    Certificate {
        what: CertificateKind,
        identity: Option<String>,
        node: Option<String>,
        expires_at: f64,
    },
    NodeWithoutProxy {
        node: String,
        meshed_pods: u32,
        last_seen_at: Option<f64>,
    },
    NodeNotScraped {
        node: String,
        last_scrape_at: Option<f64>,
    },
    PodNotServed {
        resource: ResourceRef,
        node: String,
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateKind {
    Anchor,
    Issuer,
    Workload,
}
