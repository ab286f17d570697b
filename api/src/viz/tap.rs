//! Live calls: what is asked, and the messages of the answer.

use serde::{Deserialize, Serialize};

use super::{
    answer::Failure,
    reference::{ResourceRef, ResourceType},
};

/// What is tapped. In a URL, these are the names of the query's parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TapQuery {
    pub namespace: String,
    #[serde(rename = "type")]
    pub kind: ResourceType,
    pub name: String,
    /// Only requests to this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_type: Option<ResourceType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The beginning of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Requests per second over all pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rps: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TapMessage {
    /// First, and again when the pods change.
    Started {
        pods: u32,
        max_rps: f64,
        skipped: Vec<SkippedPod>,
    },
    Events {
        events: Vec<TapEvent>,
    },
    /// Events that the limit, or a slow reader, kept back since the last such message.
    Dropped {
        events: u64,
    },
    /// The last message.
    Error {
        error: Failure,
    },
}

/// A pod that is not tapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedPod {
    pub pod: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TapEvent {
    /// The same for the three events of a request.
    pub id: String,
    pub at: f64,
    pub direction: Direction,
    #[serde(flatten)]
    pub event: TapEventKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Inbound,
    Outbound,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "each kind is as frequent as the others")]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TapEventKind {
    Request {
        source: TapEnd,
        destination: TapEnd,
        tls: Tls,
        method: String,
        scheme: Option<String>,
        authority: String,
        path: String,
        /// The route that it matched; `None` if it matched none.
        #[serde(default)]
        route: Option<String>,
        headers: Vec<(String, String)>,
    },
    Response {
        status: u16,
        latency_ms: f64,
        headers: Vec<(String, String)>,
    },
    End {
        duration_ms: f64,
        response_bytes: u64,
        /// gRPC's code by name; `None` if the response has none.
        grpc_status: Option<String>,
        /// The name of the HTTP/2 reset code if the stream broke.
        reset: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapEnd {
    pub resource: Option<ResourceRef>,
    pub pod: Option<String>,
    /// `10.244.1.3:41234`, `[fd00::1]:80`.
    pub address: String,
}

/// The metrics' label `tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    True,
    Local,
    Opaque,
    NoIdentity,
}
