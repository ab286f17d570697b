//! Names and values that try to be something else, and very many of them.

use std::fmt::Write;

use serde_json::Value;

use crate::{
    exporter::Exporter,
    http::encoded,
    process::{Options, Prometheus, Viz, wait_for},
};

const PATH: &str = "a\"}) or vector(1e9) or (up{x=\"";
const HTML: &str = "<img src=x onerror=alert(1)>";
const MANIFESTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: many, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: many, name: source, labels: {linkerd.io/proxy-deployment: source}}
spec: {nodeName: n, containers: []}
status: {phase: Running, podIP: 10.0.0.1}
";

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[test]
fn label_values_are_only_text_and_ten_thousand_series_are_answered() {
    let exporter = Exporter::start();
    let mut page = String::new();
    for number in 0..10_000 {
        let name = match number {
            0 => escaped(PATH),
            1 => escaped(HTML),
            2 => "x".repeat(300),
            _ => format!("target-{number}"),
        };
        writeln!(
            page,
            "tcp_open_connections{{direction=\"outbound\",peer=\"dst\",namespace=\"many\",pod=\"source\",\
             deployment=\"source\",tls=\"true\",dst_namespace=\"many\",dst_deployment=\"{name}\",dst_pod=\"p\"}} 1"
        )
        .unwrap();
    }
    exporter.set_metrics(page);
    let prometheus = Prometheus::start(exporter.address());
    let viz = Viz::start(Options {
        manifests: MANIFESTS,
        prometheus: Some(format!("http://{}", prometheus.address)),
        proxy: Some(exporter.address()),
        ..Options::default()
    });
    let edges = |map: &Value| map["edges"].as_array().unwrap().len();
    wait_for("a scrape", || edges(&viz.data("/api/topology")) > 0);
    let map = viz.data("/api/topology");
    assert_eq!(edges(&map), 10_000);
    let labels: Vec<_> =
        map["nodes"].as_array().unwrap().iter().filter_map(|node| node["label"].as_str()).collect();
    assert!(labels.contains(&HTML) && labels.contains(&PATH));

    // Names in questions select what has exactly this name.
    let rows = |name: &str| {
        let name = encoded(name);
        let path = format!("/api/edges?namespace=many&type=deployment&name={name}");
        viz.get(&path).json()["data"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((rows(PATH), rows(HTML), rows(".*"), rows("target-.*")), (1, 1, 0, 0));
    let error = viz.get(&format!("/api/resource/many/deployment/{}", encoded(HTML)));
    assert_eq!(error.status, 404);
    assert_eq!(error.header("content-type"), Some("application/json; charset=utf-8"));
}

#[test]
fn parameters_that_are_not_known_are_refused() {
    let viz = Viz::start(Options { manifests: MANIFESTS, ..Options::default() });
    for path in [
        "/api/tps-reports?windwo=1m",
        "/api/tps-reports?window=1y",
        "/api/tps-reports?type=secret",
        "/api/tps-reports?type=pod&to_name=x",
        "/api/resource/many/secret/x",
        "/api/resource-definition?namespace=many&type=secret&name=x",
        "/api/routes",
    ] {
        let (status, code, _) = viz.error(path);
        assert_eq!((status, code.as_str()), (400, "bad_request"), "{path}");
    }
    let (status, code, _) = viz.error("/api/../../etc/passwd");
    assert_eq!((status, code.as_str()), (404, "not_found"));
    assert_eq!(viz.get("/api/resource/many/pod/%00").json()["data"], Value::Null);
}
