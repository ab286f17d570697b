//! The metrics that count requests by route.

use crate::query::{Labels, get};

/// What no route matches.
pub(super) const DEFAULT: &str = "[DEFAULT]";
pub(super) const KINDS: [Metrics; 2] = [
    Metrics {
        statuses: "inbound_http_statuses_total",
        status: "http_status",
        duration: "inbound_http_request_duration_seconds",
    },
    Metrics {
        statuses: "inbound_grpc_statuses_total",
        status: "grpc_status",
        duration: "inbound_grpc_request_duration_seconds",
    },
];
/// Codes of gRPC that are failures.
const FAILURES: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "PERMISSION_DENIED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

pub(super) struct Metrics {
    pub(super) statuses: &'static str,
    pub(super) status: &'static str,
    pub(super) duration: &'static str,
}

/// What figures by route are grouped by.
pub(super) const BY: [&str; 2] = ["route_name", "parent_port"];

impl Metrics {
    pub(super) fn is_failure(&self, labels: &Labels) -> bool {
        let status = get(labels, self.status);
        match self.status {
            "grpc_status" => FAILURES.contains(&status),
            _ => status.is_empty() || status.starts_with('5'),
        }
    }
}

/// The route and the port of a group.
pub(super) fn key_of(labels: &Labels) -> (String, String) {
    let route = match get(labels, "route_name") {
        "" | "http" | "grpc" | "default" => DEFAULT,
        route => route,
    };
    (route.to_owned(), get(labels, "parent_port").to_owned())
}
