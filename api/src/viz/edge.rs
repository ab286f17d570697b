//! Connections between resources, and how they are secured.

use serde::{Deserialize, Serialize};

use super::reference::ResourceRef;

/// How a connection is secured. The order is from best to worst.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Secured {
    /// On one node; the kernel knows both identities.
    SameNode,
    /// mTLS between nodes.
    Mtls,
    /// The application's own TLS, which weft carries unread.
    OpaqueTls,
    /// `reason` is the metrics' `no_tls_reason`.
    Plaintext { reason: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    pub source: Option<ResourceRef>,
    pub destination: Option<ResourceRef>,
    /// What to call an end that is not an object of the cluster: an address, or a name.
    pub source_label: Option<String>,
    pub destination_label: Option<String>,
    pub client_id: Option<String>,
    pub server_id: Option<String>,
    pub secured: Secured,
    pub open_connections: f64,
}
