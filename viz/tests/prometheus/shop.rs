//! A small cluster with known traffic: `bot` calls `web`, which calls `store`; a pod `alone` has no owner.

use std::fmt::Write;

/// Of what `web` answered.
pub(crate) const WEB_1: (u64, u64) = (176, 24);
pub(crate) const WEB_2: (u64, u64) = (352, 48);
pub(crate) const WEB_RATE: f64 = 0.88;
/// Of what `store` answered: all is well.
pub(crate) const STORE: (u64, u64) = (500, 0);
/// Requests that `store` denied to `bot`.
pub(crate) const DENIED: f64 = 30.0;
/// Bytes that `bot` read from `web`, and wrote to it.
pub(crate) const BYTES: (f64, f64) = (90_000.0, 6_000.0);
/// Connections at a port of `store` that is not HTTP.
pub(crate) const CONNECTIONS: f64 = 40.0;

pub(crate) const MANIFESTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web-1, labels: {app: web, linkerd.io/proxy-deployment: web}}
spec: {nodeName: n, serviceAccountName: web, containers: []}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web-2, labels: {app: web, linkerd.io/proxy-deployment: web}}
spec: {nodeName: n, serviceAccountName: web, containers: []}
status: {phase: Running, podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: store-0, labels: {linkerd.io/proxy-statefulset: store}}
spec: {nodeName: n, serviceAccountName: store, containers: []}
status: {phase: Running, podIP: 10.0.0.3}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: bot, labels: {linkerd.io/proxy-deployment: bot}}
spec: {nodeName: n, serviceAccountName: bot, containers: []}
status: {phase: Running, podIP: 10.0.0.4}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: alone}
spec: {nodeName: n, serviceAccountName: alone, containers: []}
status: {phase: Running, podIP: 10.0.0.5}
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: web-svc}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
"#;

pub(crate) const CONFIG: &str = r#"{"workloads": {
    "shop/web-1": {"state": "SERVED", "reason": ""}, "shop/web-2": {"state": "SERVED", "reason": ""},
    "shop/store-0": {"state": "SERVED", "reason": ""}, "shop/bot": {"state": "SERVED", "reason": ""},
    "shop/alone": {"state": "REFUSED", "reason": "its namespace cannot be found"}}}"#;

pub(crate) const WORST: &str = r#"[
    {"namespace": "shop", "pod": "web-1", "direction": "inbound", "method": "GET", "path": "/buy", "requests": 30, "failures": 24},
    {"namespace": "shop", "pod": "web-2", "direction": "inbound", "method": "GET", "path": "/buy", "requests": 60, "failures": 48}]"#;

/// The bounds of the histogram. Half of all requests take up to 10 ms, 90 % up to 20 ms, all up to 50 ms.
const SHARES: [(&str, f64); 5] = [("5.0", 0.0), ("10.0", 0.5), ("20.0", 0.9), ("50.0", 1.0), ("+Inf", 1.0)];
pub(crate) const P50: f64 = 10.0;
/// Half of the way from 20 to 50 ms.
pub(crate) const P95: f64 = 35.0;

const ID: &str = "serviceaccount.identity.linkerd.cluster.local";

/// What the proxy of the node says, after `share` of all requests.
pub(crate) fn page(share: f64) -> String {
    let mut text = String::new();
    let web = |pod: &str| format!("namespace=\"shop\",pod=\"{pod}\",deployment=\"web\"");
    let inbound = |labels: &str| {
        format!(
            "direction=\"inbound\",{labels},tls=\"local\",srv_kind=\"default\",srv_name=\"all-unauthenticated\",srv_port=\"8080\""
        )
    };
    let store = "namespace=\"shop\",pod=\"store-0\",statefulset=\"store\"";
    for (labels, counts) in [(web("web-1"), WEB_1), (web("web-2"), WEB_2), (store.to_owned(), STORE)] {
        traffic(&mut text, &inbound(&labels), counts, share);
        statuses(&mut text, &labels, counts, share);
    }
    // The same, as the sources see it.
    let to_web = |pod: &str| {
        format!(
            "direction=\"outbound\",namespace=\"shop\",pod=\"bot\",deployment=\"bot\",tls=\"local\",server_id=\"web.shop.{ID}\",\
             dst_namespace=\"shop\",dst_deployment=\"web\",dst_pod=\"{pod}\",dst_service=\"web-svc\""
        )
    };
    traffic(&mut text, &to_web("web-1"), WEB_1, share);
    traffic(&mut text, &to_web("web-2"), WEB_2, share);
    let to_store = format!(
        "direction=\"outbound\",{},tls=\"true\",server_id=\"store.shop.{ID}\",dst_namespace=\"shop\",\
         dst_statefulset=\"store\",dst_pod=\"store-0\",dst_service=\"store-svc\"",
        web("web-1")
    );
    traffic(&mut text, &to_store, STORE, share);
    let plain = "tls=\"no_identity\",no_tls_reason=\"not_provided_by_service_discovery\"";
    for (labels, peer, open) in [
        (to_web("web-1"), "dst", 2),
        (to_web("web-2"), "dst", 1),
        (to_store, "dst", 3),
        // Plaintext between two meshed pods, seen at both ends; and a connection from outside.
        (
            format!(
                "direction=\"outbound\",namespace=\"shop\",pod=\"alone\",{plain},dst_namespace=\"shop\",\
                 dst_statefulset=\"store\",dst_pod=\"store-0\""
            ),
            "dst",
            1,
        ),
        (
            format!("direction=\"inbound\",{store},tls=\"no_identity\",no_tls_reason=\"no_tls_from_remote\""),
            "src",
            1,
        ),
        (
            format!(
                "direction=\"inbound\",{},tls=\"no_identity\",no_tls_reason=\"no_tls_from_remote\"",
                web("web-1")
            ),
            "src",
            4,
        ),
    ] {
        writeln!(text, "tcp_open_connections{{{labels},peer=\"{peer}\"}} {open}").unwrap();
    }
    let denied = (DENIED * share).round();
    let client = format!("client_id=\"bot.shop.{ID}\"");
    writeln!(text, "inbound_http_authz_deny_total{{{},{client}}} {denied}", inbound(store)).unwrap();
    for (read, written, labels) in [
        (BYTES.0, BYTES.1, format!("{},peer=\"dst\"", to_web("web-1"))),
        (BYTES.1, BYTES.0, format!("{},peer=\"src\"", inbound(&web("web-1")))),
    ] {
        writeln!(text, "tcp_read_bytes_total{{{labels}}} {}", read * share).unwrap();
        writeln!(text, "tcp_write_bytes_total{{{labels}}} {}", written * share).unwrap();
    }
    let connections = (CONNECTIONS * share).round();
    writeln!(
        text,
        "inbound_tcp_authz_allow_total{{direction=\"inbound\",{store},tls=\"true\",srv_kind=\"server\",srv_name=\"store-tcp\",\
         srv_port=\"6379\",authz_kind=\"serverauthorization\",authz_name=\"store-from-web\"}} {connections}"
    )
    .unwrap();
    text.push_str("process_start_time_seconds 1700000000\nproxy_build_info{version=\"1.2.3\"} 1\n");
    text.push_str("weft_connections_open 7\nweft_connections_limit 100\n");
    text
}

/// The same, by route: there is only the default one.
fn statuses(text: &mut String, labels: &str, (ok, failed): (u64, u64), share: f64) {
    for (status, count) in [("200", ok), ("500", failed)] {
        let count = (count as f64 * share).round();
        writeln!(
            text,
            "inbound_http_statuses_total{{{labels},route_name=\"default\",parent_port=\"8080\",http_status=\"{status}\",\
             error=\"\"}} {count}"
        )
        .unwrap();
    }
}

fn traffic(text: &mut String, labels: &str, (ok, failed): (u64, u64), share: f64) {
    for (class, count) in [("success", ok), ("failure", failed)] {
        let count = (count as f64 * share).round();
        writeln!(text, "response_total{{{labels},classification=\"{class}\"}} {count}").unwrap();
    }
    for (bound, part) in SHARES {
        let count = (ok + failed) as f64 * part * share;
        writeln!(text, "response_latency_ms_bucket{{{labels},le=\"{bound}\"}} {}", count.round()).unwrap();
    }
}
