//! Figures of policies: of Servers, and of what authorizes their clients.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::figures::HttpStats;

/// The kinds of policies that have figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyType {
    Server,
    ServerAuthorization,
    AuthorizationPolicy,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRow {
    #[serde(rename = "type")]
    pub kind: PolicyType,
    pub namespace: String,
    pub name: String,
    /// The Server that an authorization let clients in to; `None` in the row of a Server.
    pub server: Option<String>,
    /// Requests and connections that nothing allowed, per second; `None` in the row of an authorization.
    pub denied_rps: Option<f64>,
    /// Of an authorization: the requests that it allowed, with success rate and latencies of its server.
    pub http: Option<HttpStats>,
    /// Open connections to a Server; `None` in the row of an authorization.
    pub open_connections: Option<f64>,
    /// Connections that were let in within the window and are not read as HTTP.
    #[serde(default)]
    pub connections: f64,
}

impl PolicyType {
    pub const ALL: [Self; 3] = [Self::Server, Self::ServerAuthorization, Self::AuthorizationPolicy];

    /// The word for it in the API and in labels of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::ServerAuthorization => "serverauthorization",
            Self::AuthorizationPolicy => "authorizationpolicy",
        }
    }

    /// The kind that a word means.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for PolicyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
