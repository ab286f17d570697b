//! The dashboards of the owners of pods, and of single pods.

use super::{
    model::{Dashboard, Panel, Row, Variable},
    query::{DST_OWNER, DST_OWNERS, OWNER, OWNERS, latency, rate, rate_or_zero, requests, success_rate},
};

/// A kind of workload.
struct Kind {
    /// Of the variable, and of the dashboard.
    name: &'static str,
    title: &'static str,
    /// Of the workload's own figures.
    label: &'static str,
    /// Of what its clients count.
    dst_label: &'static str,
}

const KINDS: [Kind; 7] = [
    Kind { name: "deployment", title: "Deployment", label: "deployment", dst_label: "dst_deployment" },
    Kind { name: "statefulset", title: "StatefulSet", label: "statefulset", dst_label: "dst_statefulset" },
    Kind { name: "daemonset", title: "DaemonSet", label: "daemonset", dst_label: "dst_daemonset" },
    Kind { name: "replicaset", title: "ReplicaSet", label: "replicaset", dst_label: "dst_replicaset" },
    Kind { name: "job", title: "Job", label: "k8s_job", dst_label: "dst_job" },
    Kind { name: "cronjob", title: "CronJob", label: "cronjob", dst_label: "dst_cronjob" },
    Kind { name: "pod", title: "Pod", label: "pod", dst_label: "dst_pod" },
];

pub(super) fn dashboards() -> impl Iterator<Item = Dashboard> {
    KINDS.iter().map(dashboard)
}

fn dashboard(kind: &Kind) -> Dashboard {
    let Kind { name, title, label, dst_label } = *kind;
    let own = format!("namespace=\"$namespace\", {label}=\"${name}\"");
    let inbound = format!("direction=\"inbound\", {own}");
    let outbound = format!("direction=\"outbound\", {own}");
    let clients = format!("direction=\"outbound\", dst_namespace=\"$namespace\", {dst_label}=\"${name}\"");
    Dashboard {
        name: name.to_owned(),
        title: format!("weft / {title}"),
        description: format!("What a {title} receives and sends: success, requests, latency, connections."),
        variables: vec![
            Variable::of_workloads("namespace", "Namespace", "namespace"),
            Variable::of_workloads(name, title, label),
        ],
        rows: vec![
            now(&own, &inbound),
            received(&inbound),
            failures(&inbound),
            Row::new(
                "Clients",
                ends(&clients, &format!("namespace, {OWNERS}"), &format!("{{{{namespace}}}}/{OWNER}")),
            ),
            Row::new(
                "Destinations",
                ends(
                    &outbound,
                    &format!("dst_namespace, {DST_OWNERS}"),
                    &format!("{{{{dst_namespace}}}}/{DST_OWNER}"),
                ),
            ),
            connections(&own),
        ],
    }
}

fn now(own: &str, inbound: &str) -> Row {
    Row::new(
        "Now",
        [
            Panel::number(
                "Success rate",
                "percentunit",
                "The part of the received requests that did not fail.",
            )
            .query(success_rate(inbound, ""), ""),
            Panel::number("Requests", "reqps", "Requests received per second.")
                .query(requests(inbound, ""), ""),
            Panel::number("P95 latency", "ms", "95 of 100 requests were answered within this time.")
                .query(latency(0.95, inbound, ""), ""),
            Panel::number("Served pods", "short", "Pods that a proxy serves.")
                .query(format!("sum(weft_workload_served{{{own}}})"), ""),
            Panel::number("Open connections", "short", "Connections to the workload that are open.")
                .query(format!("sum(tcp_open_connections{{{inbound}, peer=\"src\"}})"), ""),
            Panel::number("Denied", "reqps", "Requests and connections per second that policy denied.")
                .query(
                    format!(
                        "({}) + ({})",
                        rate_or_zero("inbound_http_authz_deny_total", own),
                        rate_or_zero("inbound_tcp_authz_deny_total", own)
                    ),
                    "",
                ),
        ],
    )
}

fn received(inbound: &str) -> Row {
    Row::new(
        "Received",
        [
            Panel::lines("Success rate", "percentunit", "The part of the received requests that did not fail.")
                .query(success_rate(inbound, ""), "success"),
            Panel::lines(
                "Requests by encryption",
                "reqps",
                "Requests received per second: true is mTLS, local is within a node, no_identity is plaintext.",
            )
            .query(requests(inbound, "tls"), "{{tls}}"),
            percentiles(inbound),
        ],
    )
}

fn percentiles(filter: &str) -> Panel {
    let panel =
        Panel::lines("Latency", "ms", "50, 95 and 99 of 100 requests were answered within this time.");
    [(0.5, "P50"), (0.95, "P95"), (0.99, "P99")]
        .into_iter()
        .fold(panel, |panel, (quantile, name)| panel.query(latency(quantile, filter, ""), name))
}

fn failures(inbound: &str) -> Row {
    Row::new(
        "What fails",
        [
            Panel::lines("Answers by HTTP status", "reqps", "Answers per second by HTTP status.")
                .query(requests(inbound, "status_code"), "{{status_code}}"),
            Panel::lines(
                "Answers by gRPC status",
                "reqps",
                "Answers per second by the number of the gRPC status: 0 is OK, 2 is UNKNOWN. The others are not gRPC.",
            )
            .query(requests(inbound, "grpc_status"), "{{grpc_status}}"),
            Panel::lines(
                "Failures by gRPC status",
                "reqps",
                "Failed requests per second, by the number of the gRPC status and by the proxy's own error.",
            )
            .query(
                format!(
                    "{} or vector(0)",
                    requests(&format!("{inbound}, classification=\"failure\""), "grpc_status, error")
                ),
                "{{grpc_status}} {{error}}",
            ),
        ],
    )
}

/// Figures by the other end, as the source saw them.
fn ends(filter: &str, by: &str, name: &str) -> [Panel; 3] {
    [
        Panel::lines(
            "Success rate",
            "percentunit",
            "The part of the requests that did not fail, as their source saw it.",
        )
        .query(success_rate(filter, by), name),
        Panel::lines("Requests", "reqps", "Requests per second, as their source saw them.")
            .query(requests(filter, by), name),
        Panel::lines(
            "P95 latency",
            "ms",
            "95 of 100 requests were answered within this time, as their source saw it.",
        )
        .query(latency(0.95, filter, by), name),
    ]
}

fn connections(own: &str) -> Row {
    let src = format!("{own}, peer=\"src\"");
    Row::new(
        "Connections",
        [
            Panel::lines("Open connections", "short", "Open connections by direction and encryption.").query(
                format!("sum by (direction, tls) (tcp_open_connections{{{src}}})"),
                "{{direction}} {{tls}}",
            ),
            Panel::lines("Bytes read", "Bps", "Bytes per second that were read from clients, by direction.")
                .query(rate("tcp_read_bytes_total", &src, "direction"), "{{direction}}"),
            Panel::lines(
                "Bytes written",
                "Bps",
                "Bytes per second that were written to clients, by direction.",
            )
            .query(rate("tcp_write_bytes_total", &src, "direction"), "{{direction}}"),
        ],
    )
}
