//! What the dashboard shows of objects: extensions, manifests, pods outside of the mesh.

use serde_json::json;

use crate::{
    exporter::Exporter,
    process::{Options, Viz, wait_for},
};

const MANIFESTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: weft-viz}
---
apiVersion: v1
kind: Namespace
metadata: {name: tracing, labels: {linkerd.io/extension: jaeger}}
---
apiVersion: v1
kind: Namespace
metadata: {name: plain, labels: {team: a}}
";

#[test]
fn extensions_are_the_namespaces_with_their_label_and_this_one() {
    let viz = Viz::start(Options { manifests: MANIFESTS, ..Options::default() });
    let found = viz.data("/api/extensions");
    let names: Vec<_> =
        found.as_array().unwrap().iter().map(|item| [&item["name"], &item["namespace"]]).collect();
    assert_eq!(names, [[&json!("jaeger"), &json!("tracing")], [&json!("viz"), &json!("weft-viz")]]);
    assert!(found.as_array().unwrap().iter().all(|item| item["installed"] == true), "{found}");
}

#[test]
fn a_definition_says_which_manifest_it_is_from() {
    let viz = Viz::start(Options { manifests: MANIFESTS, ..Options::default() });
    let found = viz.data("/api/resource-definition?namespace=plain&type=namespace&name=plain");
    assert!(found["yaml"].as_str().unwrap().contains("team: a"), "{found}");
    assert!(found["file"].as_str().unwrap().ends_with("/manifests/all.yaml"), "{found}");
}

const OUTSIDER: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata:
  {namespace: shop, name: bot, annotations: {linkerd.io/inject: enabled}, labels: {linkerd.io/proxy-deployment: bot}}
spec: {nodeName: n, containers: []}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: legacy-1, labels: {linkerd.io/proxy-deployment: legacy}}
spec: {nodeName: n, containers: []}
status: {phase: Running, podIP: 10.0.0.2}
";

#[test]
fn a_pod_outside_of_the_mesh_that_meshed_ones_call_is_a_workload_of_its_own_on_the_map() {
    let exporter = Exporter::start();
    exporter.set_metrics(
        "tcp_open_connections{direction=\"outbound\",peer=\"dst\",namespace=\"shop\",pod=\"bot\",deployment=\"bot\",\
         tls=\"no_identity\",no_tls_reason=\"not_provided_by_service_discovery\",dst_namespace=\"shop\",\
         dst_deployment=\"legacy\",dst_pod=\"legacy-1\"} 2\n"
            .to_owned(),
    );
    let viz =
        Viz::start(Options { manifests: OUTSIDER, proxy: Some(exporter.address()), ..Options::default() });
    wait_for("the connections", || viz.data("/api/topology")["edges"].as_array().unwrap().len() == 1);
    let map = viz.data("/api/topology");
    let kind = |id: &str| {
        let nodes = map["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["id"] == id).unwrap_or_else(|| panic!("{id}: {map}"))["kind"].clone()
    };
    assert_eq!(kind("shop/deployment/bot"), "workload");
    assert_eq!(kind("shop/deployment/legacy"), "unmeshed");
    assert_eq!(map["edges"][0]["target"], "shop/deployment/legacy");
    assert_eq!(map["nodes"].as_array().unwrap().len(), 2, "nothing is outside: {map}");
}
