//! Checks that policies and health checks reach the proxy, and what it is told about pods that weft cannot mesh.

use weft_api::node::{Network, Workload, authorization::Client, update::Kind};

use super::{names, next, pod, watch_of};
use crate::testing::{Running, bearer};

#[tokio::test]
async fn authorizations_and_probes_reach_the_proxy() {
    let policies = r#"---
{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: s, namespace: demo}, spec: {port: 80}}
---
{apiVersion: policy.linkerd.io/v1beta1, kind: ServerAuthorization, metadata: {name: z, namespace: demo},
 spec: {server: {name: s}, client: {networks: [{cidr: 10.1.0.0/16, except: [10.1.1.0/24]}], unauthenticated: true}}}
---
{apiVersion: policy.linkerd.io/v1alpha1, kind: AuthorizationPolicy, metadata: {name: p, namespace: demo}, spec: {targetRef: {kind: Namespace,
 name: demo}, requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: m}]}}
---
{apiVersion: policy.linkerd.io/v1alpha1, kind: MeshTLSAuthentication, metadata: {name: m, namespace: demo},
 spec: {identities: [a.b], identityRefs: [{kind: Namespace, name: other}, {kind: ServiceAccount, name: c}]}}
"#;
    let spec = "containers: [{name: c, readinessProbe: {httpGet: {port: 80, path: /ready}}, livenessProbe: {tcpSocket: {port: 81}}}]";
    let text = pod("a", "one", "1", spec) + policies;
    let running = Running::start(&text).await;
    let mut stream =
        running.node().watch(bearer(watch_of("one"), &running.token("one"))).await.unwrap().into_inner();
    let Kind::Snapshot(snapshot) = next(&mut stream).await else { panic!() };
    let lines = |workload: &Workload| -> Vec<String> {
        let found = &workload.port_policies[0].authorizations;
        found.iter().map(|found| format!("{}/{}/{}", found.group, found.kind, found.name)).collect()
    };
    let a = &snapshot.workloads[0];
    assert_eq!(
        lines(a),
        ["policy.linkerd.io/serverauthorization/z", "policy.linkerd.io/authorizationpolicy/p"]
    );
    let [by_network, by_identity] = &a.port_policies[0].authorizations[..] else { panic!() };
    let network = Network { cidr: "10.1.0.0/16".into(), except: vec!["10.1.1.0/24".into()] };
    assert_eq!((&by_network.networks[..], by_network.client.is_some()), ([network].as_slice(), true));
    let Some(Client::Identities(identities)) = &by_identity.client else { panic!("{by_identity:?}") };
    let own = "c.demo.serviceaccount.identity.linkerd.cluster.local";
    assert_eq!(
        (&identities.names[..], &identities.suffixes[..]),
        (
            ["a.b".to_owned(), own.into()].as_slice(),
            [".other.serviceaccount.identity.linkerd.cluster.local".to_owned()].as_slice()
        )
    );
    let probes: Vec<_> = a.probes.iter().map(|probe| (probe.port, probe.path.as_str())).collect();
    assert_eq!(probes, [(80, "/ready"), (81, "")]);

    running.manifest(&text.replace("name: m, namespace", "name: n, namespace"));
    let Kind::Upsert(changed) = next(&mut stream).await else { panic!() };
    assert_eq!(lines(&changed), ["policy.linkerd.io/serverauthorization/z"]);
}

#[tokio::test]
async fn pods_that_weft_cannot_mesh_are_sent_to_be_reported_except_sidecars() {
    let text = pod("sidecar", "one", "1", "containers: [{name: linkerd-proxy}]")
        + &pod("kata", "one", "1", "runtimeClassName: kata")
        + &pod("host", "one", "1", "hostNetwork: true");
    let running = Running::start(&text).await;
    let mut stream =
        running.node().watch(bearer(watch_of("one"), &running.token("one"))).await.unwrap().into_inner();
    let Kind::Snapshot(snapshot) = next(&mut stream).await else { panic!() };
    assert_eq!(names(&snapshot.workloads), ["host", "kata"]);
    let unmeshed: Vec<_> = snapshot.unmeshed.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(unmeshed, ["sidecar"]);
}
