//! Pods that are not in the mesh as their annotations say.

use serde_json::{Value, json};

use super::{Failure, PROXY, value, values};
use crate::{lab::Lab, objects};

pub(crate) const FAILURES: &[Failure] = &[
    Failure {
        name: "no_such_namespace",
        options: &["--proxy", "-n", "nowhere"],
        description: "data plane namespace exists",
        result: "error",
        says: &["The \"nowhere\" namespace does not exist"],
        anchor: "weft-data-plane-exists",
        healthy: None,
        break_it: |_| {},
        mend_it: |lab| drop(lab.kubectl(&["create", "namespace", "nowhere"], "")),
    },
    failure(
        "a_namespace_that_is_not_annotated",
        "data plane proxies are ready",
        "error",
        &["no running pod in the \"demo\" namespace is annotated for the mesh"],
        "weft-data-plane-ready",
        |lab| drop(lab.kubectl(&["annotate", "namespace", "demo", "linkerd.io/inject-"], "")),
        objects::demo,
    ),
    failure(
        "a_pod_on_a_node_without_a_proxy",
        "data plane proxies are ready",
        "error",
        &["demo/stray: there is no ready proxy on its node \"n9\""],
        "weft-data-plane-ready",
        |lab| lab.apply(&objects::pod("demo", "stray", "n9", "10.244.9.3", &json!({}))),
        |lab| delete(lab, "pod", "stray"),
    ),
    failure(
        "a_pod_that_the_proxy_does_not_know",
        "data plane proxies are ready",
        "error",
        &["demo/web: the proxy of its node \"n1\" does not know it yet"],
        "weft-data-plane-ready",
        |lab| workloads(lab, json!({})),
        objects::healthy_pages,
    ),
    failure(
        "a_pod_that_is_refused",
        "capture is attached to all meshed pods",
        "error",
        &["demo/web is REFUSED: no network namespace found"],
        "weft-data-plane-capture",
        |lab| {
            workloads(
                lab,
                json!({ "demo/web": { "state": "REFUSED", "reason": "no network namespace found" } }),
            )
        },
        objects::healthy_pages,
    ),
    failure(
        "a_pod_in_the_host_network",
        "meshed pods have a network namespace of their own",
        "warning",
        &["demo/host"],
        "weft-data-plane-host-network",
        |lab| {
            let mut pod = objects::pod("demo", "host", "n1", "10.77.0.1", &json!({}));
            pod["spec"]["hostNetwork"] = json!(true);
            lab.apply(&pod);
        },
        |lab| delete(lab, "pod", "host"),
    ),
    failure(
        "a_pod_with_a_kernel_of_its_own",
        "meshed pods share their node's kernel",
        "warning",
        &["demo/sandbox: the pod has a kernel of its own (handler runsc)"],
        "weft-data-plane-runtime-class",
        |lab| {
            lab.apply(&objects::pod("demo", "sandbox", "n1", "10.244.1.9", &json!({})));
            let mut config = objects::config("web");
            config["workloads"]["demo/sandbox"] = json!({
                "state": "REFUSED",
                "reason": "the pod has a kernel of its own (handler runsc): its connections cannot be seen from the node",
            });
            lab.page(0, &config, objects::METRICS);
        },
        |lab| {
            delete(lab, "pod", "sandbox");
            objects::healthy_pages(lab);
        },
    ),
    failure(
        "a_pod_with_linkerds_sidecar",
        "meshed pods have no proxy of their own",
        "warning",
        &["demo/linkerds"],
        "weft-data-plane-sidecars",
        |lab| {
            let mut pod = objects::pod("demo", "linkerds", "n1", "10.244.1.9", &json!({}));
            let sidecar = json!({ "name": "linkerd-proxy", "image": "proxy" });
            pod["spec"]["containers"].as_array_mut().expect("containers").push(sidecar);
            lab.apply(&pod);
        },
        |lab| delete(lab, "pod", "linkerds"),
    ),
    failure(
        "plaintext_between_meshed_pods",
        "no plaintext between meshed pods",
        "warning",
        &["demo/web to demo/api port 8080: 2"],
        "weft-data-plane-plaintext",
        |lab| lab.page(0, &objects::config("web"), PLAINTEXT),
        objects::healthy_pages,
    ),
    failure(
        "plaintext_to_a_port_that_is_skipped_no_more",
        "no plaintext between meshed pods",
        "warning",
        &["demo/web to demo/api port 4567: 1"],
        "weft-data-plane-plaintext",
        |lab| {
            skip_at_api(lab, "config.linkerd.io/skip-inbound-ports=8080");
            lab.page(0, &objects::config("web"), SKIPPED);
        },
        // Both ports are skipped: by the annotation instead of the installation's default.
        |lab| skip_at_api(lab, "config.linkerd.io/skip-inbound-ports=4567,8000-8100"),
    ),
    failure(
        "plaintext_to_a_port_that_only_the_default_would_not_skip",
        "no plaintext between meshed pods",
        "warning",
        &["demo/web to demo/api port 8080: 3"],
        "weft-data-plane-plaintext",
        |lab| {
            skip_at_api(lab, "config.linkerd.io/skip-inbound-ports-");
            lab.page(0, &objects::config("web"), SKIPPED);
        },
        objects::healthy_pages,
    ),
    failure(
        "an_annotation_that_is_a_label_of_a_pod",
        "data plane pod labels are configured correctly",
        "warning",
        &["demo/web: linkerd.io/inject"],
        "weft-data-plane-pod-labels",
        |lab| drop(lab.kubectl(&["-n", "demo", "label", "pod", "web", "linkerd.io/inject=enabled"], "")),
        |lab| drop(lab.kubectl(&["-n", "demo", "label", "pod", "web", "linkerd.io/inject-"], "")),
    ),
    failure(
        "an_annotation_that_is_a_label_of_a_service",
        "data plane service labels are configured correctly",
        "warning",
        &["demo/web: config.linkerd.io/opaque-ports"],
        "weft-data-plane-services-labels",
        |lab| service(lab, json!({ "config.linkerd.io/opaque-ports": "80" }), json!({})),
        |lab| delete(lab, "service", "web"),
    ),
    failure(
        "a_port_that_is_opaque_for_the_service_only",
        "opaque ports are properly annotated",
        "warning",
        &["service demo/web has the opaque port 80, which is 8080 of pod demo/web: add 8080"],
        "weft-opaque-ports-definition",
        |lab| service(lab, json!({}), json!({ "config.linkerd.io/opaque-ports": "80" })),
        |lab| delete(lab, "service", "web"),
    ),
    failure(
        "a_port_that_is_opaque_for_the_pods_only_by_default",
        "opaque ports are properly annotated",
        "warning",
        &["pod demo/web has the opaque port 3306, which is 3306 of service demo/web: add 3306"],
        "weft-opaque-ports-definition",
        // Not one of 9999, but one of the installation's default for what has no annotation.
        |lab| database(lab, json!({ "config.linkerd.io/opaque-ports": "9999" })),
        // The annotation says what applies to the pods anyway.
        |lab| database(lab, json!({ "config.linkerd.io/opaque-ports": "3306" })),
    ),
    failure(
        "a_port_that_only_another_default_makes_opaque",
        "opaque ports are properly annotated",
        "warning",
        &["service demo/web has the opaque port 3306, which is 3306 of pod demo/web: add 3306"],
        "weft-opaque-ports-definition",
        |lab| {
            database(lab, json!({ "config.linkerd.io/opaque-ports": "3306" }));
            default_opaque_ports(lab, "25");
        },
        |lab| {
            default_opaque_ports(lab, DEFAULT_OPAQUE_PORTS);
            delete(lab, "service", "web");
        },
    ),
];

const DEFAULT_OPAQUE_PORTS: &str = "25,587,3306,4444,5432,6379,9300,11211";

/// Only a connection of a meshed pod to a meshed pod in plaintext counts.
const PLAINTEXT: &str = r#"# TYPE tcp_open_connections gauge
tcp_open_connections{direction="outbound",peer="dst",namespace="demo",pod="web",target_port="8080",tls="no_identity",no_tls_reason="not_provided_by_service_discovery",dst_namespace="demo",dst_pod="api"} 2
tcp_open_connections{direction="outbound",peer="dst",namespace="demo",pod="web",target_port="8081",tls="true",dst_namespace="demo",dst_pod="api"} 5
tcp_open_connections{direction="outbound",peer="dst",namespace="demo",pod="web",target_port="8082",tls="no_identity",dst_namespace="default",dst_pod="db"} 7
# EOF
"#;

/// To ports that the destination may skip.
const SKIPPED: &str = r#"# TYPE tcp_open_connections gauge
tcp_open_connections{direction="outbound",peer="dst",namespace="demo",pod="web",target_port="4567",tls="no_identity",no_tls_reason="not_provided_by_service_discovery",dst_namespace="demo",dst_pod="api"} 1
tcp_open_connections{direction="outbound",peer="dst",namespace="demo",pod="web",target_port="8080",tls="no_identity",no_tls_reason="not_provided_by_service_discovery",dst_namespace="demo",dst_pod="api"} 3
# EOF
"#;

fn skip_at_api(lab: &Lab, annotation: &str) {
    lab.kubectl(&["-n", "demo", "annotate", "pod", "api", "--overwrite", annotation], "");
}

const fn failure(
    name: &'static str,
    description: &'static str,
    result: &'static str,
    says: &'static [&'static str],
    anchor: &'static str,
    break_it: fn(&Lab),
    mend_it: fn(&Lab),
) -> Failure {
    Failure { name, options: PROXY, description, result, says, anchor, healthy: None, break_it, mend_it }
}

fn workloads(lab: &Lab, workloads: Value) {
    let mut config = objects::config("web");
    config["workloads"] = workloads;
    lab.page(0, &config, objects::METRICS);
}

fn service(lab: &Lab, labels: Value, annotations: Value) {
    lab.apply(&json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "web", "namespace": "demo", "labels": labels, "annotations": annotations },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
    }));
}

fn database(lab: &Lab, annotations: Value) {
    lab.apply(&json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "web", "namespace": "demo", "annotations": annotations },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 3306 }] },
    }));
}

/// Changes the installation's value.
fn default_opaque_ports(lab: &Lab, ports: &str) {
    let mut proxy = values(lab)["proxy"].clone();
    proxy["opaquePorts"] = json!(ports);
    value(lab, "proxy", proxy);
}

fn delete(lab: &Lab, kind: &str, name: &str) {
    lab.kubectl(&["-n", "demo", "delete", kind, name, "--force", "--grace-period=0"], "");
}
