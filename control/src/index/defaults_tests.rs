//! Tests of settings of the whole cluster: they count where neither a pod, an owner, a service nor a namespace has one.

use std::collections::BTreeMap;

use super::*;
use crate::{
    model::Name,
    settings::{Annotations, Policy},
    testing::applied,
};

const CLUSTER: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: strict, annotations: {config.linkerd.io/default-inbound-policy: all-authenticated}}
---
apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: demo}
---
apiVersion: v1
kind: Pod
metadata: {name: of-namespace, namespace: strict}
---
apiVersion: v1
kind: Pod
metadata:
  name: own
  namespace: strict
  annotations:
    config.linkerd.io/default-inbound-policy: all-unauthenticated
    config.linkerd.io/opaque-ports: '1234'
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec: {clusterIP: 10.0.0.1, ports: [{port: 7000}]}
";

fn cluster() -> Arc<Cluster> {
    let defaults = [
        ("config.linkerd.io/default-inbound-policy", "deny"),
        ("config.linkerd.io/opaque-ports", "7000-7001"),
        ("config.linkerd.io/skip-inbound-ports", ""),
    ];
    let defaults = defaults.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (defaults, bad) = Annotations::parse(Some(&BTreeMap::from(defaults)));
    assert_eq!(bad, []);
    let index = Index::with_defaults(Served::new(), defaults);
    index.apply(applied(CLUSTER));
    index.snapshot()
}

fn pod(namespace: &str, name: &str) -> PodConfig {
    let name = Name { namespace: namespace.into(), name: name.into() };
    cluster().pod(&name).unwrap().config.clone()
}

#[test]
fn a_pod_of_a_namespace_without_an_object_has_the_defaults() {
    let plain = pod("demo", "plain");
    assert_eq!(plain.default_policy, Policy::Deny);
    assert_eq!(plain.fail_mode, FailMode::Closed, "the policy would be broken in plaintext");
    assert!(plain.opaque_ports.contains(7001) && !plain.opaque_ports.contains(3306));
    assert!(plain.skip_inbound_ports.ranges().is_empty());
    assert!(plain.skip_outbound_ports.contains(4567), "what is not set is Linkerd's");
}

#[test]
fn annotations_of_the_namespace_win_over_the_defaults_and_those_of_the_pod_over_both() {
    let of_namespace = pod("strict", "of-namespace");
    assert_eq!(of_namespace.default_policy, Policy::AllAuthenticated);
    assert!(of_namespace.opaque_ports.contains(7000));
    let own = pod("strict", "own");
    assert_eq!(own.default_policy, Policy::AllUnauthenticated);
    assert!(own.opaque_ports.contains(1234) && !own.opaque_ports.contains(7000));
}

#[test]
fn services_and_addresses_outside_the_mesh_have_the_default_opaque_ports() {
    let cluster = cluster();
    let name = Name { namespace: "demo".into(), name: "web".into() };
    assert!(cluster.service(&name).unwrap().opaque_ports.contains(7000));
    assert!(cluster.opaque_ports().contains(7000) && !cluster.opaque_ports().contains(3306));
    assert!(Index::new(Served::new()).snapshot().opaque_ports().contains(3306));
}
