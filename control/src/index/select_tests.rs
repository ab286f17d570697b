//! Checks which endpoints clients are to use.

use std::sync::Arc;

use crate::{
    index::{Cluster, EndpointState, Place, Service},
    model::Name,
    testing::cluster,
};

fn web(cluster: &Cluster) -> Arc<Service> {
    cluster.service(&Name { namespace: "demo".into(), name: "web".into() }).unwrap().clone()
}

/// A service with a slice of these endpoints.
fn sliced(service: &str, endpoints: &str) -> Arc<Service> {
    web(&cluster(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: demo}}, spec: {{{service} ports: [{{port: 80}}]}}}}\n---\n\
         {{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: s, namespace: demo, \
         labels: {{kubernetes.io/service-name: web}}}}, ports: [{{port: 8080}}], endpoints: [{endpoints}]}}"
    )))
}

fn addresses(service: &Service, client: Place<'_>) -> Vec<String> {
    service.select(80, None, client).iter().map(|endpoint| endpoint.addr.ip().to_string()).collect()
}

const DRAINING: &str =
    "{addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}";
const GONE: &str = "{addresses: [10.0.0.3], conditions: {ready: false, serving: false, terminating: true}}";
const NOT_READY: &str =
    "{addresses: [10.0.0.4], conditions: {ready: false, serving: false, terminating: false}}";

#[test]
fn endpoints_that_terminate_are_used_only_if_none_is_ready() {
    let all = sliced("", &format!("{{addresses: [10.0.0.1]}}, {DRAINING}, {GONE}, {NOT_READY}"));
    assert_eq!(addresses(&all, Place::default()), ["10.0.0.1"]);
    let last = sliced("", &format!("{DRAINING}, {GONE}, {NOT_READY}"));
    assert_eq!(addresses(&last, Place::default()), ["10.0.0.2"]);
    assert_eq!(last.select(80, None, Place::default())[0].state, EndpointState::Draining);
    assert_eq!(addresses(&sliced("", &format!("{GONE}, {NOT_READY}")), Place::default()), [] as [String; 0]);
    let all = sliced("publishNotReadyAddresses: true,", &format!("{DRAINING}, {GONE}, {NOT_READY}"));
    assert_eq!(addresses(&all, Place::default()).len(), 3);
}

#[test]
fn pods_that_are_deleted_drain_as_in_slices() {
    let pod = |name: &str, ip: &str, rest: &str, ready: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: demo, labels: {{app: web}}, {rest}}}, \
             status: {{podIP: {ip}, conditions: [{{type: Ready, status: \"{ready}\"}}]}}}}\n---\n"
        )
    };
    let deleted = "deletionTimestamp: \"2026-01-01T00:00:00Z\"";
    let service = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: demo}, spec: {selector: {app: web}, ports: [{port: 80}]}}";
    let drain = pod("b", "10.0.0.2", deleted, "True") + &pod("c", "10.0.0.3", deleted, "False");
    let with_ready = cluster(&(pod("a", "10.0.0.1", "", "True") + &drain + service));
    assert_eq!(addresses(&web(&with_ready), Place::default()), ["10.0.0.1"]);
    assert_eq!(addresses(&web(&cluster(&(drain + service))), Place::default()), ["10.0.0.2"]);
}

#[test]
fn a_local_service_has_only_endpoints_of_the_clients_node() {
    let endpoints = "{addresses: [10.0.0.1], nodeName: one}, {addresses: [10.0.0.2], nodeName: two, conditions: {ready: false, \
                     serving: true, terminating: true}}";
    let service = sliced("internalTrafficPolicy: Local,", endpoints);
    let on = |node| Place { node: Some(node), zone: None };
    assert_eq!(addresses(&service, on("one")), ["10.0.0.1"]);
    assert_eq!(addresses(&service, on("two")), ["10.0.0.2"], "no endpoint there is ready");
    assert_eq!(addresses(&service, on("three")), [] as [String; 0]);
    assert_eq!(addresses(&service, Place::default()), [] as [String; 0]);
}

#[test]
fn zone_hints_count_if_all_endpoints_have_some() {
    let hinted =
        |ip: &str, zone: &str| format!("{{addresses: [{ip}], hints: {{forZones: [{{name: {zone}}}]}}}}");
    let both = hinted("10.0.0.1", "a") + ", " + &hinted("10.0.0.2", "b");
    let service = sliced("", &both);
    let zone = |zone| Place { node: Some("n"), zone: Some(zone) };
    assert_eq!(addresses(&service, zone("a")), ["10.0.0.1"]);
    assert_eq!(addresses(&service, zone("b")), ["10.0.0.2"]);
    assert_eq!(addresses(&service, zone("c")).len(), 2, "no endpoint is meant for this zone");
    assert_eq!(addresses(&service, Place::default()).len(), 2);
    let incomplete = sliced("", &(both + ", {addresses: [10.0.0.3]}"));
    assert_eq!(addresses(&incomplete, zone("a")).len(), 3);
}

#[test]
fn a_node_names_the_zone_of_its_pods() {
    let text = |zone: &str| {
        format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: n, labels: {{topology.kubernetes.io/zone: {zone}}}}}}}\n---\n\
             {{apiVersion: v1, kind: Pod, metadata: {{name: a, namespace: demo}}, spec: {{nodeName: n}}, status: {{podIP: 10.0.0.1}}}}"
        )
    };
    let cluster = cluster(&text("z"));
    assert_eq!(cluster.zone_of("n"), Some("z"));
    assert_eq!(cluster.pod_at("10.0.0.1".parse().unwrap(), 1).unwrap().zone.as_deref(), Some("z"));
}
