//! What `weft viz check` asks weft-viz itself, on a dev VM.

use serde_json::{Value, json};

use crate::server::{Server, stderr};

/// A weft-viz that works.
fn healthy() -> Server {
    let server = Server::start();
    server.answer(
        "/api/version",
        json!({
            "version": "0", "clusterDomain": "cluster.local", "controlPlaneNamespace": "weft", "vizNamespace": "weft-viz",
            "source": "manifests", "prometheus": { "available": true, "retentionSeconds": null }, "grafana": null,
            "cli": ["weft", "viz"],
        }),
    );
    server.answer(
        "/api/tps-reports",
        json!([{
            "namespace": "demo", "type": "namespace", "name": "demo", "status": null, "pods": null, "http": null,
            "tcp": null, "spark": null, "split": null,
        }]),
    );
    server.answer("/api/nodes", [node("a", "ready"), node("b", "ready")]);
    server.answer("/api/pods", [pod("web", "a", "allowed")]);
    server
}

fn node(name: &str, state: &str) -> Value {
    json!({
        "name": name, "ready": true, "pods": { "meshed": 1, "running": 1, "failed": 0 }, "perNamespace": [],
        "proxy": {
            "version": "0", "state": state, "reason": "no answer", "startedAt": null, "lastScrapeAt": null,
            "memoryBytes": null, "cpuCores": null, "connections": 0.0, "connectionsLimit": null,
            "controlPlaneConnected": true, "certificateExpiresAt": null,
        },
    })
}

fn pod(name: &str, node: &str, tap: &str) -> Value {
    json!({
        "namespace": "demo", "name": name, "owner": null, "node": node, "phase": "Running", "ready": true,
        "startedAt": null, "meshed": true, "proxy": { "state": "served", "reason": null }, "tap": tap, "http": null,
        "tcp": null,
    })
}

/// The checks that did not succeed: description, result, error and hint; and whether the command succeeded.
fn problems(server: &Server, options: &[&str]) -> (Vec<[String; 4]>, bool) {
    let words = [&["check", "-o", "json", "--wait", "0s"], options].concat();
    let output = server.viz(&words);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let checks = report["categories"].as_array().unwrap().iter();
    let checks = checks.flat_map(|category| category["checks"].as_array().unwrap());
    let text = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let found = checks
        .filter(|check| check["result"] != "success")
        .map(|check| ["description", "result", "error", "hint"].map(|name| text(check, name)))
        .collect();
    (found, output.status.success())
}

const PROXY: &[&str] = &["--proxy", "-n", "demo"];

#[track_caller]
fn finds(server: &Server, options: &[&str], expected: [&str; 4]) {
    let (found, success) = problems(server, options);
    let [description, result, says, anchor] = expected;
    let problem = found.iter().find(|problem| problem[0] == description);
    let [_, found_result, error, hint] = problem.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((found_result.as_str(), success), (result, result == "warning"));
    assert!(error.contains(says), "{error}");
    assert!(hint.ends_with(&format!("docs/check.md#{anchor}")), "{hint}");
}

#[test]
fn a_weft_viz_that_works_passes() {
    let server = healthy();
    assert_eq!(problems(&server, &[]), (Vec::new(), true));
    assert_eq!(problems(&server, PROXY), (Vec::new(), true));
    let output = server.viz(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "weft-viz\n--------\n√ can initialize the viz client\n√ viz extension self-check\n√ node proxies are scraped\n\n\
         Status check results are √\n"
    );
}

#[test]
fn a_weft_viz_that_does_not_answer_is_a_failure() {
    let server = healthy();
    server.refuse("/api/version", 500, "internal", "Something is broken.", "Look at the log.");
    let expected =
        ["can initialize the viz client", "error", "Something is broken", "weft-viz-existence-client"];
    finds(&server, &[], expected);
    assert_eq!(problems(&server, &[]).0.len(), 1, "nothing else can be checked");
}

#[test]
fn a_prometheus_that_is_away_is_a_failure() {
    let server = healthy();
    server.refuse(
        "/api/tps-reports",
        503,
        "prometheus_unavailable",
        "Prometheus does not answer.",
        "Does it run?",
    );
    let expected = [
        "viz extension self-check",
        "error",
        "Prometheus does not answer. Does it run?",
        "weft-viz-metrics-api",
    ];
    finds(&server, &[], expected);
}

#[test]
fn a_prometheus_in_whose_place_the_proxies_answer_is_a_failure() {
    let server = healthy();
    let rows = json!([{
        "namespace": "demo", "type": "namespace", "name": "demo", "status": null, "pods": null, "http": null,
        "tcp": null, "spark": null, "split": null,
    }]);
    server.answer_without_prometheus(
        "/api/tps-reports",
        rows,
        "Prometheus at http://p took longer than 3 s.",
    );
    let expected =
        ["viz extension self-check", "error", "http://p took longer than 3 s", "weft-viz-metrics-api"];
    finds(&server, &[], expected);
}

#[test]
fn a_cluster_that_weft_viz_cannot_read_is_a_failure() {
    let server = healthy();
    server.answer("/api/tps-reports", json!([]));
    finds(&server, &[], ["viz extension self-check", "error", "sees no namespace", "weft-viz-metrics-api"]);
}

#[test]
fn a_node_that_is_not_scraped_is_a_warning_and_its_pods_a_failure() {
    let server = healthy();
    server.answer("/api/nodes", [node("a", "not_scraped"), node("b", "ready")]);
    finds(&server, &[], ["node proxies are scraped", "warning", "a: no answer", "weft-viz-scraped"]);
    let expected = [
        "data plane proxy metrics are present in Prometheus",
        "error",
        "demo/web: the proxy of its node \"a\" is not scraped",
        "weft-viz-data-plane-prom",
    ];
    finds(&server, PROXY, expected);
}

#[test]
fn a_node_without_a_proxy_is_a_warning() {
    let server = healthy();
    let mut alone = node("c", "ready");
    alone["proxy"] = Value::Null;
    server.answer("/api/nodes", [node("a", "ready"), alone]);
    finds(
        &server,
        &[],
        ["node proxies are scraped", "warning", "c: no proxy answers there", "weft-viz-scraped"],
    );
}

#[test]
fn a_namespace_without_meshed_pods_is_a_failure() {
    let server = healthy();
    server.answer("/api/pods", json!([]));
    let description = "data plane proxy metrics are present in Prometheus";
    finds(&server, PROXY, [description, "error", "no running pod in \"demo\"", "weft-viz-data-plane-prom"]);
    let expected = [
        "data plane namespace exists",
        "error",
        "\"nowhere\" namespace does not exist",
        "weft-data-plane-exists",
    ];
    finds(&server, &["--proxy", "-n", "nowhere"], expected);
}

#[test]
fn pods_that_opted_out_of_taps_are_a_warning() {
    let server = healthy();
    server.answer("/api/pods", [pod("web", "a", "allowed"), pod("vault", "b", "disabled")]);
    let expected = ["data plane pods have tap enabled", "warning", "demo/vault", "weft-viz-data-plane-tap"];
    finds(&server, PROXY, expected);
}
