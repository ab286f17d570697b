//! Answers without rows say why: names that do not exist, proxies that are not scraped.

use serde_json::Value;

use crate::{
    exporter::Exporter,
    process::{Options, Prometheus, Viz, wait_for},
    shop,
};

/// Of the one node; its proxy counted nothing.
const IDLE: &str = "process_start_time_seconds 1700000000\n";

#[test]
fn what_does_not_exist_is_named() {
    let viz = Viz::start(Options { manifests: shop::MANIFESTS, ..Options::default() });
    let web = "namespace=shop&type=deployment&name=web";
    let typo = "namespace=shop&type=deployment&name=typo";
    for (path, message) in [
        (format!("tps-reports?{typo}"), "deployment typo does not exist in namespace shop."),
        (format!("edges?{typo}"), "deployment typo does not exist in namespace shop."),
        (format!("routes?{typo}"), "deployment typo does not exist in namespace shop."),
        (format!("outbound?{typo}"), "deployment typo does not exist in namespace shop."),
        (format!("authz?{typo}"), "deployment typo does not exist in namespace shop."),
        ("edges?namespace=nowhere&type=deployment".to_owned(), "Namespace nowhere does not exist."),
        ("tps-reports?namespace=nowhere&type=deployment".to_owned(), "Namespace nowhere does not exist."),
        (
            format!("tps-reports?{web}&to_namespace=shop&to_type=service&to_name=typo"),
            "service typo does not exist in namespace shop.",
        ),
        (
            format!("tps-reports?{web}&from_namespace=nowhere&from_type=pod&from_name=a"),
            "pod a does not exist in namespace nowhere.",
        ),
        (
            format!("routes?{web}&to_namespace=shop&to_type=service&to_name=typo"),
            "service typo does not exist in namespace shop.",
        ),
    ] {
        let answer = viz.get(&format!("/api/{path}"));
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, error["message"].as_str()), (404, Some(message)), "{path}");
        assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("misspelt")), "{path}");
    }
    for path in [format!("edges?{web}"), format!("authz?{web}"), format!("routes?{web}")] {
        assert_eq!(viz.data(&format!("/api/{path}")).as_array().map(Vec::len), Some(0), "{path}");
    }
}

/// The warnings about nodes.
fn warnings(viz: &Viz, path: &str) -> Vec<String> {
    let answer = viz.get(path).json();
    let all = answer["meta"]["warnings"].as_array().unwrap().iter();
    let of_nodes = all.filter(|warning| warning["code"] == "node_not_scraped");
    of_nodes.map(|warning| warning["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn figures_of_pods_whose_proxy_is_not_scraped_have_a_warning() {
    let exporter = Exporter::start();
    exporter.set_metrics(IDLE.to_owned());
    let prometheus = Prometheus::start(exporter.address());
    // A node whose proxy never was scraped has a minute; this one was, and is not any more.
    let manifests = shop::MANIFESTS.to_owned()
        + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n---\napiVersion: v1\nkind: Pod\n\
           metadata: {namespace: other, name: plain}\nspec: {nodeName: n, containers: []}\n\
           status: {phase: Running, podIP: 10.0.0.9}\n";
    let viz = Viz::start(Options {
        manifests: &manifests,
        prometheus: Some(format!("http://{}", prometheus.address)),
        proxy: Some(exporter.address()),
        ..Options::default()
    });
    let is_scraped = || viz.data("/api/nodes")[0]["proxy"]["lastScrapeAt"].is_number();
    wait_for("the first scrape", is_scraped);
    assert_eq!(warnings(&viz, "/api/tps-reports?type=pod"), Vec::<String>::new());
    exporter.set_metrics("this is no page of metrics {".to_owned());
    let expected = ["Figures of node n are missing: its proxy is not scraped."];
    wait_for("the warning", || warnings(&viz, "/api/tps-reports?type=pod") == expected);
    let web = "namespace=shop&type=deployment&name=web";
    for path in ["edges", "routes", "outbound", "authz"] {
        assert_eq!(warnings(&viz, &format!("/api/{path}?{web}")), expected, "{path}");
    }
    // It has no meshed pods.
    assert_eq!(warnings(&viz, "/api/edges?namespace=other"), Vec::<String>::new());
    assert_eq!(viz.get("/api/edges?namespace=other").json()["data"], Value::Array(Vec::new()));
}
