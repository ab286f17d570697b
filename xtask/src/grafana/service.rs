//! The dashboard of a Service, as its clients see it.

use super::{
    model::{Dashboard, Panel, Row, Variable},
    query::{OWNER, OWNERS, latency, rate, requests, success_rate},
};

const FILTER: &str = "direction=\"outbound\", dst_namespace=\"$namespace\", dst_service=\"$service\"";
const PARENT: &str = "parent_kind=\"Service\", parent_namespace=\"$namespace\", parent_name=\"$service\"";

pub(super) fn dashboard() -> Dashboard {
    let variable =
        |name, title, series: &str, label| Variable { name, title, series: series.to_owned(), label };
    let by = format!("namespace, {OWNERS}");
    let name = format!("{{{{namespace}}}}/{OWNER}");
    Dashboard {
        name: "service".to_owned(),
        title: "weft / Service".to_owned(),
        description: "What clients in the mesh send to a Service, and how it is balanced over its pods."
            .to_owned(),
        variables: vec![
            variable(
                "namespace",
                "Namespace",
                "tcp_open_total{direction=\"outbound\", dst_service!=\"\"}",
                "dst_namespace",
            ),
            variable(
                "service",
                "Service",
                "tcp_open_total{direction=\"outbound\", dst_namespace=\"$namespace\"}",
                "dst_service",
            ),
        ],
        rows: vec![
            Row::new(
                "Now",
                [
                    Panel::number(
                        "Success rate",
                        "percentunit",
                        "The part of the requests to the Service that did not fail.",
                    )
                    .query(success_rate(FILTER, ""), ""),
                    Panel::number("Requests", "reqps", "Requests per second to the Service.")
                        .query(requests(FILTER, ""), ""),
                    Panel::number("P95 latency", "ms", "95 of 100 requests were answered within this time.")
                        .query(latency(0.95, FILTER, ""), ""),
                    Panel::number(
                        "Open connections",
                        "short",
                        "Connections to the Service's pods that are open.",
                    )
                    .query(format!("sum(tcp_open_connections{{{FILTER}, peer=\"dst\"}})"), ""),
                ],
            ),
            Row::new(
                "Clients",
                [
                    Panel::lines(
                        "Success rate",
                        "percentunit",
                        "The part of the requests that did not fail, by client.",
                    )
                    .query(success_rate(FILTER, &by), name.as_str()),
                    Panel::lines("Requests", "reqps", "Requests per second, by client.")
                        .query(requests(FILTER, &by), name.as_str()),
                    Panel::lines(
                        "P95 latency",
                        "ms",
                        "95 of 100 requests were answered within this time, by client.",
                    )
                    .query(latency(0.95, FILTER, &by), name.as_str()),
                ],
            ),
            Row::new(
                "Pods",
                [
                    Panel::lines(
                        "Success rate",
                        "percentunit",
                        "The part of the requests that did not fail, by pod.",
                    )
                    .query(success_rate(FILTER, "dst_pod"), "{{dst_pod}}"),
                    Panel::lines("Requests", "reqps", "Requests per second, by the pod that answered.")
                        .query(requests(FILTER, "dst_pod"), "{{dst_pod}}"),
                    Panel::lines(
                        "P95 latency",
                        "ms",
                        "95 of 100 requests were answered within this time, by pod.",
                    )
                    .query(latency(0.95, FILTER, "dst_pod"), "{{dst_pod}}"),
                ],
            ),
            balancing(),
        ],
    }
}

fn balancing() -> Row {
    Row::new(
        "Balancing",
        [
            Panel::lines(
                "Endpoints",
                "short",
                "Endpoints that the nodes' proxies know: ready, or pending while one is avoided after a failure.",
            )
            .query(
                format!("max by (endpoint_state) (outbound_http_balancer_endpoints{{{PARENT}}})"),
                "{{endpoint_state}}",
            ),
            Panel::lines("Answers by HTTP status", "reqps", "Answers per second by HTTP status.").query(
                rate("outbound_http_route_request_statuses_total", PARENT, "http_status"),
                "{{http_status}}",
            ),
            Panel::lines("Answers by gRPC status", "reqps", "Answers per second by the name of the gRPC status.").query(
                rate("outbound_grpc_route_request_statuses_total", PARENT, "grpc_status"),
                "{{grpc_status}}",
            ),
        ],
    )
}
