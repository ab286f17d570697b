//! What a cluster of a few objects looks like.

use weft_control::index::Served;

use super::*;

fn view(yaml: &str) -> ClusterView {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("all.yaml"), yaml).unwrap();
    let mut source = weft_control::manifests::ManifestSource::new(vec![dir.path().to_owned()]).unwrap();
    let index = Index::new(Served::new());
    index.apply(source.read());
    ClusterView::of(&index)
}

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: shop, name: web, uid: d, annotations: {viz.linkerd.io/disable-tap: "true"}}
spec: {selector: {}, template: {spec: {containers: []}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: shop, name: idle}
spec: {selector: {}, template: {spec: {containers: []}}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  {namespace: shop, name: web-1, uid: r,
   ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d, controller: true}]}
spec: {selector: {}}
---
apiVersion: v1
kind: Pod
metadata:
  {namespace: shop, name: web-1-a, labels: {app: web},
   ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: r, controller: true}]}
spec: {nodeName: n, containers: []}
status: {phase: Running, podIP: 10.0.0.1, startTime: "2026-01-01T00:00:00Z"}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: alone, annotations: {linkerd.io/inject: disabled}}
spec: {nodeName: n, containers: []}
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: web}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
"#;

#[test]
fn pods_belong_to_their_outermost_owner() {
    let view = view(SHOP);
    let workloads: Vec<_> =
        view.workloads.iter().map(|(name, pods)| (name.to_string(), pods.len())).collect();
    let expected = [("shop/deployment/idle", 0), ("shop/deployment/web", 1), ("shop/pod/alone", 1)];
    assert_eq!(workloads, expected.map(|(name, pods)| (name.to_owned(), pods)));
    assert!(view.has_bare_pods);
    let pod = &view.pods[&("shop".into(), "web-1-a".into())];
    assert_eq!((pod.phase.as_str(), pod.started_at), ("Running", Some(1_767_225_600.0)));
    assert_eq!(view.count(&ResourceRef::namespace("shop")), PodCount { meshed: 1, running: 1, failed: 1 });
}

#[test]
fn a_workload_opts_out_of_taps_for_its_pods() {
    let view = view(SHOP);
    let tap = |name: &str| view.pods[&("shop".into(), name.into())].tap;
    assert_eq!((tap("web-1-a"), tap("alone")), (TapState::Disabled, TapState::NotMeshed));
}

#[test]
fn a_service_has_the_pods_that_it_selects() {
    let view = view(SHOP);
    let service = &view.services[&("shop".into(), "web".into())];
    assert_eq!(service.ports, [ServicePort { name: Some("http".into()), port: 80, protocol: "TCP".into() }]);
    assert_eq!(service.pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["web-1-a"]);
}
