//! The dashboard of weft itself: proxies, certificates, control plane, Prometheus.

use super::{
    model::{Dashboard, Panel, Row},
    query::rate,
};

const PROXY: &str = "job=\"weft-proxy\"";

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: "health".to_owned(),
        title: "weft / Health".to_owned(),
        description: "weft itself: node proxies, certificates, control plane, Prometheus.".to_owned(),
        variables: Vec::new(),
        rows: vec![now(), proxies(), limits(), certificates(), control(), viz(), prometheus()],
    }
}

fn now() -> Row {
    Row::new(
        "Now",
        [
            Panel::number("Proxies that answer", "short", "Node proxies whose figures were read.")
                .query(format!("sum(up{{{PROXY}}})"), ""),
            Panel::number("Proxies that do not", "short", "Node proxies whose figures could not be read.")
                .query(format!("count(up{{{PROXY}}} == 0) or vector(0)"), ""),
            Panel::number("Served pods", "short", "Pods that a proxy serves.")
                .query("sum(weft_workload_served)", ""),
            Panel::number("Pods not served", "short", "Pods of the mesh that no proxy serves.")
                .query("count(weft_workload_served == 0) or vector(0)", ""),
            Panel::number(
                "First certificate expires",
                "s",
                "The time until the first certificate of a workload expires. They are renewed long before.",
            )
            .query("min(control_identity_cert_expiration_timestamp_seconds) - time()", ""),
            Panel::number("Issuer expires", "s", "The time until the issuer's certificate expires.")
                .query("min(weft_control_issuer_expiration_timestamp_seconds) - time()", ""),
        ],
    )
}

fn proxies() -> Row {
    Row::new(
        "Node proxies",
        [
            Panel::lines("CPU", "short", "CPU cores in use, by node.")
                .query(rate("process_cpu_seconds_total", PROXY, "node"), "{{node}}"),
            Panel::lines("Memory", "bytes", "Resident memory, by node.")
                .query(format!("sum by (node) (process_resident_memory_bytes{{{PROXY}}})"), "{{node}}"),
            Panel::lines(
                "Open connections",
                "short",
                "Open connections of all workloads of a node, and their limit.",
            )
            .query("weft_connections_open", "{{node}}")
            .query("weft_connections_limit", "{{node}} limit"),
            Panel::lines("Served pods", "short", "Pods that each node's proxy serves.")
                .query("sum by (node) (weft_workload_served)", "{{node}}"),
            Panel::lines("Open files", "short", "Open file descriptors, by node.")
                .query(format!("process_open_fds{{{PROXY}}}"), "{{node}}"),
            Panel::lines("Threads", "short", "Threads, by node.")
                .query(format!("process_threads{{{PROXY}}}"), "{{node}}"),
        ],
    )
}

fn limits() -> Row {
    Row::new(
        "Capture and limits",
        [
            Panel::lines(
                "Connections by decision",
                "cps",
                "What the kernel programs decided per second, for all nodes.",
            )
            .query(rate("weft_capture_total", "", "hook, outcome"), "{{hook}} {{outcome}}"),
            Panel::lines("Entries of kernel maps", "short", "Entries of each map, by node.")
                .query("weft_capture_map_entries", "{{node}} {{map}}"),
            Panel::lines(
                "Errors",
                "short",
                "Connections and requests per second that a proxy could not pass on, by reason.",
            )
            .query(errors("inbound_tcp_errors_total"), "inbound {{error}}")
            .query(errors("outbound_tcp_errors_total"), "outbound {{error}}")
            .query(errors("inbound_http_errors_total"), "inbound requests {{error}}")
            .query(errors("outbound_http_errors_total"), "outbound requests {{error}}"),
            Panel::lines(
                "Limits that were reached",
                "short",
                "Label sets and destinations per second that found no room.",
            )
            .query(
                "sum(rate(weft_metrics_label_sets_overflow_total[$__rate_interval])) or vector(0)",
                "label sets",
            )
            .query("sum(rate(weft_discovery_refusals_total[$__rate_interval])) or vector(0)", "destinations"),
        ],
    )
}

fn certificates() -> Row {
    Row::new(
        "Certificates",
        [
            Panel::lines("Workloads", "s", "The time until the certificate of each identity expires.").query(
                "min by (identity) (control_identity_cert_expiration_timestamp_seconds) - time()",
                "{{identity}}",
            ),
            Panel::lines("Issuer and trust anchors", "s", "The time until they expire.")
                .query("min(weft_control_issuer_expiration_timestamp_seconds) - time()", "issuer")
                .query(
                    "min(weft_control_trust_anchor_expiration_timestamp_seconds) - time()",
                    "trust anchors",
                )
                .query(
                    "min(weft_control_own_certificate_expiration_timestamp_seconds) - time()",
                    "weft-control",
                ),
            Panel::lines("Renewals", "short", "Attempts per second to have a certificate issued, by result.")
                .query(rate("control_identity_cert_refreshes_total", "", "result"), "{{result}}"),
        ],
    )
}

fn control() -> Row {
    Row::new(
        "Control plane",
        [
            Panel::lines("Objects", "short", "Objects that the control plane knows, by kind.")
                .query("max by (kind) (weft_control_index_objects)", "{{kind}}"),
            Panel::lines("Open streams", "short", "Open gRPC streams, by method.")
                .query("sum by (method) (weft_control_grpc_streams_open)", "{{method}}"),
            Panel::lines("Calls", "reqps", "gRPC calls that ended per second, by method and result.")
                .query(rate("weft_control_grpc_requests_total", "", "method, code"), "{{method}} {{code}}"),
            Panel::lines(
                "Proxies with a control plane",
                "short",
                "Replicas that are ready, as each node's proxy sees it.",
            )
            .query("weft_control_plane_replicas_ready", "{{node}}"),
        ],
    )
}

fn viz() -> Row {
    let duration = rate("weft_viz_prometheus_query_duration_seconds_bucket", "", "le");
    Row::new(
        "Dashboard and live calls",
        [
            Panel::lines("Requests to the API", "reqps", "Requests per second, by status.")
                .query(rate("weft_viz_api_requests_total", "", "code"), "{{code}}"),
            Panel::lines("Questions to Prometheus", "s", "How long 95 of 100 questions to Prometheus took.")
                .query(format!("histogram_quantile(0.95, {duration})"), "P95"),
            Panel::lines(
                "Failed questions",
                "short",
                "Questions per second that Prometheus did not answer, by reason.",
            )
            .query(errors_by("weft_viz_prometheus_query_errors_total", "reason"), "{{reason}}"),
            Panel::lines("Connections", "short", "Open connections to the dashboard.")
                .query("sum(weft_viz_connections_open)", "connections"),
            Panel::lines("Taps", "short", "Open taps, in the dashboard and in each node's proxy.")
                .query("sum(weft_viz_taps_open)", "dashboard")
                .query("weft_taps", "{{node}}"),
            Panel::lines(
                "Events of taps",
                "short",
                "Requests, answers and ends per second that taps have shown or dropped.",
            )
            .query(rate("weft_tap_events_total", "", ""), "shown")
            .query(rate("weft_tap_dropped_events_total", "", "reason"), "dropped: {{reason}}"),
        ],
    )
}

fn prometheus() -> Row {
    let own = "job=\"prometheus\"";
    Row::new(
        "Prometheus",
        [
            Panel::lines("Memory", "bytes", "Prometheus' resident memory.")
                .query(format!("process_resident_memory_bytes{{{own}}}"), "memory"),
            Panel::lines("Series", "short", "Series in memory.")
                .query("prometheus_tsdb_head_series", "series"),
            Panel::lines("Samples", "short", "Samples stored per second.")
                .query(rate("prometheus_tsdb_head_samples_appended_total", "", ""), "samples"),
            Panel::lines("CPU", "short", "CPU cores in use.")
                .query(rate("process_cpu_seconds_total", own, ""), "CPU"),
            Panel::lines(
                "Disk",
                "bytes",
                "The size of the blocks on the disk; the last two hours are in memory.",
            )
            .query("prometheus_tsdb_storage_blocks_bytes", "blocks"),
            Panel::lines("Failed rules", "short", "Evaluations of rules that failed, per second.").query(
                errors_by("prometheus_rule_evaluation_failures_total", "rule_group"),
                "{{rule_group}}",
            ),
        ],
    )
}

fn errors(counter: &str) -> String {
    errors_by(counter, "error")
}

/// 0 while nothing has failed.
fn errors_by(counter: &str, label: &str) -> String {
    format!("{} or vector(0)", rate(counter, "", label))
}
