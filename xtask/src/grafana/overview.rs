//! The dashboards of the whole mesh and of one namespace.

use super::{
    model::{Dashboard, Panel, Row, Variable},
    query::{
        OWNER, OWNERS, rate, rate_or_zero, recorded_latency, recorded_requests, recorded_success_rate,
        requests,
    },
};

const INBOUND: &str = "direction=\"inbound\"";

pub(super) fn top_line() -> Dashboard {
    let by = format!("namespace, {OWNERS}");
    let name = format!("{{{{namespace}}}}/{OWNER}");
    Dashboard {
        name: "top-line".to_owned(),
        title: "weft / Top line".to_owned(),
        description: "The whole mesh at a glance: what fails, what is slow, what is not encrypted."
            .to_owned(),
        variables: Vec::new(),
        rows: vec![
            totals(INBOUND),
            Row::new(
                "Worst now",
                [
                    Panel::bars(
                        "Lowest success rate",
                        "percentunit",
                        "The workloads whose received requests fail most.",
                    )
                    .query(
                        format!("sort(bottomk(10, {}))", recorded_success_rate(INBOUND, &by)),
                        name.as_str(),
                    ),
                    Panel::bars(
                        "Highest P95 latency",
                        "ms",
                        "The workloads that take longest for 95 of 100 requests.",
                    )
                    .query(
                        format!("sort_desc(topk(10, {} > 0))", recorded_latency(0.95, INBOUND, &by)),
                        name.as_str(),
                    ),
                ],
            ),
            Row::new("Workloads", figures(INBOUND, &by, &name)),
            failures(INBOUND, &by, &name),
        ],
    }
}

pub(super) fn namespace() -> Dashboard {
    let filter = "direction=\"inbound\", namespace=\"$namespace\"";
    Dashboard {
        name: "namespace".to_owned(),
        title: "weft / Namespace".to_owned(),
        description: "The workloads of a namespace: success, requests, latency, what fails.".to_owned(),
        variables: vec![Variable::of_workloads("namespace", "Namespace", "namespace")],
        rows: vec![
            totals(filter),
            Row::new("Workloads", figures(filter, OWNERS, OWNER)),
            failures(filter, OWNERS, OWNER),
            connections(filter),
        ],
    }
}

fn totals(filter: &str) -> Row {
    // The gauge has no direction.
    let workloads = filter.trim_start_matches(INBOUND).trim_start_matches(", ");
    let plaintext = format!("{filter}, tls=\"no_identity\"");
    Row::new(
        "Now",
        [
            Panel::number(
                "Success rate",
                "percentunit",
                "The part of all received requests that did not fail.",
            )
            .query(recorded_success_rate(filter, ""), ""),
            Panel::number("Requests", "reqps", "Requests received per second.")
                .query(recorded_requests(filter, ""), ""),
            Panel::number("P95 latency", "ms", "95 of 100 requests were answered within this time.")
                .query(recorded_latency(0.95, filter, ""), ""),
            Panel::number("Served pods", "short", "Pods that a proxy serves.")
                .query(format!("sum(weft_workload_served{{{workloads}}})"), ""),
            Panel::number("Without encryption", "reqps", "Requests per second that arrived as plaintext.")
                .query(format!("{} or vector(0)", recorded_requests(&plaintext, "")), ""),
            Panel::number("Denied", "reqps", "Requests and connections per second that policy denied.")
                .query(
                    format!(
                        "({}) + ({})",
                        rate_or_zero("inbound_http_authz_deny_total", workloads),
                        rate_or_zero("inbound_tcp_authz_deny_total", workloads)
                    ),
                    "",
                ),
        ],
    )
}

fn figures(filter: &str, by: &str, name: &str) -> [Panel; 3] {
    [
        Panel::lines(
            "Success rate",
            "percentunit",
            "The part of the received requests that did not fail, by workload.",
        )
        .query(recorded_success_rate(filter, by), name),
        Panel::lines("Requests", "reqps", "Requests received per second, by workload.")
            .query(recorded_requests(filter, by), name),
        Panel::lines("P95 latency", "ms", "95 of 100 requests were answered within this time, by workload.")
            .query(recorded_latency(0.95, filter, by), name),
    ]
}

fn failures(filter: &str, by: &str, name: &str) -> Row {
    let failed = format!("{filter}, classification=\"failure\"");
    Row::new(
        "What fails",
        [
            Panel::lines("Failures by workload", "reqps", "Failed requests per second, by workload.")
                .width(12)
                .query(format!("{} or vector(0)", recorded_requests(&failed, by)), name),
            Panel::lines(
                "Failures by status",
                "reqps",
                "Failed requests per second, by HTTP status, number of the gRPC status, and the proxy's own error.",
            )
            .width(12)
            .query(
                format!("{} or vector(0)", requests(&failed, "status_code, grpc_status, error")),
                "HTTP {{status_code}} gRPC {{grpc_status}} {{error}}",
            ),
        ],
    )
}

fn connections(filter: &str) -> Row {
    let src = format!("{filter}, peer=\"src\"");
    Row::new(
        "Connections",
        [
            Panel::lines(
                "Open connections",
                "short",
                "Open connections to the workloads: true is mTLS, local is within a node, no_identity is plaintext.",
            )
            .query(format!("sum by (tls) (tcp_open_connections{{{src}}})"), "{{tls}}"),
            Panel::lines("Bytes read", "Bps", "Bytes per second that were read from clients, by workload.")
                .query(rate("tcp_read_bytes_total", &src, OWNERS), OWNER),
            Panel::lines("Bytes written", "Bps", "Bytes per second that were written to clients, by workload.")
                .query(rate("tcp_write_bytes_total", &src, OWNERS), OWNER),
        ],
    )
}
