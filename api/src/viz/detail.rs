//! Everything about one resource.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    edge::Edge,
    pods::{PodItem, TapState},
    rows::{AuthzRow, PathStats, StatRow},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceDetail {
    pub row: StatRow,
    /// Identities of its service accounts.
    pub identities: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// One row per other end, with the figures of the traffic between the two.
    pub inbound: Vec<StatRow>,
    pub outbound: Vec<StatRow>,
    /// For a service whose traffic is split: one row per backend.
    pub split: Vec<StatRow>,
    pub pods: Vec<PodItem>,
    pub edges: Vec<Edge>,
    pub authorizations: Vec<AuthzRow>,
    pub worst: Vec<PathStats>,
    pub tap: TapState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceDefinition {
    /// YAML without values of environment variables, `managedFields` and `last-applied-configuration`.
    pub yaml: String,
    /// The manifest that has it; `None` on Kubernetes.
    pub file: Option<String>,
}
