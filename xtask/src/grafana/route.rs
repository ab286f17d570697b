//! The dashboard of routes: what a workload receives, by server, route and authorization.

use super::{
    model::{Dashboard, Panel, Row, Variable},
    query::{OWNER, OWNERS, rate, rate_or_zero},
};

const FILTER: &str = "namespace=\"$namespace\"";

pub(super) fn dashboard() -> Dashboard {
    let by = format!("{OWNERS}, parent_name, route_name");
    let name = format!("{OWNER} {{{{parent_name}}}} {{{{route_name}}}}");
    Dashboard {
        name: "route".to_owned(),
        title: "weft / Routes and authorizations".to_owned(),
        description: "What a namespace receives, by policy, route and authorization, and what is denied."
            .to_owned(),
        variables: vec![Variable::of_workloads("namespace", "Namespace", "namespace")],
        rows: vec![
            kind("HTTP", "http", "http_status", "{{http_status}}", &by, &name),
            kind("gRPC", "grpc", "grpc_status", "{{grpc_status}}", &by, &name),
            authorizations(),
        ],
    }
}

fn kind(title: &'static str, kind: &str, status: &str, status_name: &str, by: &str, name: &str) -> Row {
    let duration = format!("inbound_{kind}_request_duration_seconds_bucket");
    Row::new(
        title,
        [
            Panel::lines("Requests", "reqps", "Requests per second, by workload, policy and route.")
                .query(rate(&format!("inbound_{kind}_requests_total"), FILTER, by), name),
            Panel::lines("Answers", "reqps", "Answers per second, by status and by the proxy's own error.").query(
                rate(&format!("inbound_{kind}_statuses_total"), FILTER, &format!("{status}, error")),
                format!("{status_name} {{{{error}}}}"),
            ),
            Panel::lines(
                "P95 of the time until a request is complete",
                "s",
                "95 of 100 requests were received completely within this time, by workload, policy and route.",
            )
            .query(format!("histogram_quantile(0.95, {})", rate(&duration, FILTER, &format!("{by}, le"))), name),
        ],
    )
}

fn authorizations() -> Row {
    let name = format!("{OWNER} {{{{srv_name}}}} {{{{authz_name}}}}");
    let by = format!("{OWNERS}, srv_name, authz_name");
    Row::new(
        "Authorizations",
        [
            Panel::lines("Allowed requests", "reqps", "Requests per second, by what allowed them.")
                .query(rate("inbound_http_authz_allow_total", FILTER, &by), name.as_str()),
            Panel::lines("Allowed connections", "cps", "Connections per second, by what allowed them.")
                .query(rate("inbound_tcp_authz_allow_total", FILTER, &by), name),
            Panel::lines(
                "Denied",
                "reqps",
                "Requests and connections per second that policy denied or ended.",
            )
            .query(rate_or_zero("inbound_http_authz_deny_total", FILTER), "requests")
            .query(rate_or_zero("inbound_tcp_authz_deny_total", FILTER), "connections")
            .query(rate_or_zero("inbound_tcp_authz_terminate_total", FILTER), "ended connections"),
        ],
    )
}
