//! Checks which pods are meshed, and what is known about pods that cannot be.

use crate::{
    index::{Obstacle, Pod},
    model::Name,
    testing::cluster,
};

fn find(text: &str, name: &str) -> Pod {
    let name = Name { namespace: "demo".into(), name: name.into() };
    (**cluster(text).pod(&name).unwrap()).clone()
}

fn namespace(annotations: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: demo, annotations: {{{annotations}}}}}}}\n---\n"
    )
}

fn object(version: &str, kind: &str, name: &str, annotations: &str, owner: &str) -> String {
    format!(
        "{{apiVersion: {version}, kind: {kind}, metadata: {{name: {name}, namespace: demo, uid: {name}-1, annotations: \
         {{{annotations}}}, ownerReferences: [{owner}]}}}}\n---\n"
    )
}

fn owner(version: &str, kind: &str, name: &str) -> String {
    format!("{{apiVersion: {version}, kind: {kind}, name: {name}, uid: {name}-1, controller: true}}")
}

const ENABLED: &str = "linkerd.io/inject: enabled";
const DISABLED: &str = "linkerd.io/inject: disabled";

/// A pod of a Deployment, with these annotations at each level.
fn deployed(pod: &str, replica_set: &str, deployment: &str, namespace_: &str) -> Pod {
    let text = namespace(namespace_)
        + &object("apps/v1", "Deployment", "web", deployment, "")
        + &object("apps/v1", "ReplicaSet", "web-5d", replica_set, &owner("apps/v1", "Deployment", "web"))
        + &object("v1", "Pod", "a", pod, &owner("apps/v1", "ReplicaSet", "web-5d"));
    find(&text, "a")
}

#[test]
fn the_nearest_of_pod_owner_and_namespace_decides_whether_a_pod_is_meshed() {
    for (pod, deployment, namespace, expected) in [
        ("", "", "", false),
        ("", "", ENABLED, true),
        ("", ENABLED, "", true),
        ("", DISABLED, ENABLED, false),
        (DISABLED, ENABLED, ENABLED, false),
        (ENABLED, DISABLED, DISABLED, true),
        ("linkerd.io/inject: ingress", "", "", true),
    ] {
        let found = deployed(pod, "", deployment, namespace);
        assert_eq!(found.is_meshed(), expected, "{pod:?} {deployment:?} {namespace:?}");
    }
}

#[test]
fn a_deployments_replica_set_keeps_annotations_that_no_longer_count() {
    assert!(!deployed("", ENABLED, "", "").is_meshed());
    let alone = object("apps/v1", "ReplicaSet", "r", ENABLED, "")
        + &object("v1", "Pod", "a", "", &owner("apps/v1", "ReplicaSet", "r"));
    assert!(find(&alone, "a").is_meshed());
}

#[test]
fn other_owners_decide_as_well() {
    for (version, kind) in [("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "Job")] {
        let text = object(version, kind, "o", ENABLED, "")
            + &object("v1", "Pod", "a", "", &owner(version, kind, "o"));
        let pod = find(&text, "a");
        assert!(pod.is_meshed(), "{kind}");
        assert_eq!(pod.metric_labels[&kind.to_lowercase()], "o");
        // Another object with the same name.
        let other = text.replacen("uid: o-1", "uid: o-2", 1);
        assert!(!find(&other, "a").is_meshed(), "{kind}");
    }
    let text = object("batch/v1", "CronJob", "c", ENABLED, "")
        + &object("batch/v1", "Job", "c-1", "", &owner("batch/v1", "CronJob", "c"))
        + &object("v1", "Pod", "a", "", &owner("batch/v1", "Job", "c-1"));
    let pod = find(&text, "a");
    assert_eq!((pod.is_meshed(), pod.metric_labels["cronjob"].as_str()), (true, "c"));
}

#[test]
fn owners_give_settings_and_metric_labels() {
    let pod = deployed("", "", "config.linkerd.io/skip-inbound-ports: \"99\"", "");
    assert!(pod.config.skip_inbound_ports.contains(99));
    // The name of the ReplicaSet does not end with a hash that a label names; its owner is known all the same.
    assert_eq!(format!("{:?}", pod.metric_labels), r#"{"deployment": "web"}"#);
}

fn pod_with(spec: &str, labels: &str) -> Pod {
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a, namespace: demo, labels: {{{labels}}}, annotations: {{{ENABLED}}}}}, \
         spec: {{nodeName: n, {spec}}}, status: {{podIP: 10.0.0.1}}}}"
    );
    find(&text, "a")
}

#[test]
fn pods_that_cannot_be_meshed_are_kept_with_the_reason() {
    for (spec, expected) in [
        ("", None),
        ("hostNetwork: true", Some(Obstacle::HostNetwork)),
        ("runtimeClassName: kata-qemu", Some(Obstacle::RuntimeClass("kata-qemu".into()))),
        ("runtimeClassName: nvidia", None),
        ("runtimeClassName: ours", None),
        ("runtimeClassName: my-gvisor", Some(Obstacle::RuntimeClass("my-gvisor".into()))),
        ("containers: [{name: linkerd-proxy}]", Some(Obstacle::LinkerdSidecar)),
        ("initContainers: [{name: linkerd-proxy, restartPolicy: Always}]", Some(Obstacle::LinkerdSidecar)),
    ] {
        let pod = pod_with(spec, "");
        assert_eq!((pod.obstacle(), pod.is_meshed()), (expected.clone(), expected.is_none()), "{spec}");
        assert!(pod.inject);
    }
}

#[test]
fn a_sidecar_serves_tls_if_its_control_plane_is_known() {
    let spec = "containers: [{name: linkerd-proxy, env: [{name: LINKERD2_PROXY_INBOUND_LISTEN_ADDR, value: \"[::]:4143\"}]}]";
    let pod = pod_with(spec, "linkerd.io/control-plane-ns: linkerd");
    assert_eq!(pod.sidecar.as_ref().unwrap().inbound_port, Some(4143));
    assert!(pod.serves_tls_on(80) && !pod.serves_tls_on(4567), "4567 is skipped");
    assert!(!pod_with(spec, "").serves_tls_on(80));
}

#[test]
fn probes_are_resolved_like_the_kubelet_does() {
    let pod = pod_with(
        "initContainers: [{name: i, readinessProbe: {tcpSocket: {port: 1}}}, {name: side, restartPolicy: Always, startupProbe: {tcpSocket: {port: 2}}}], \
         containers: [{name: x, ports: [{name: http, containerPort: 80}], readinessProbe: {httpGet: {port: http, path: ready?full=1}}, \
         livenessProbe: {grpc: {port: 9000}}}, \
         {name: y, ports: [{name: http, containerPort: 81}], readinessProbe: {httpGet: {port: http, scheme: HTTPS}}, \
         livenessProbe: {tcpSocket: {port: 5, host: elsewhere}}, startupProbe: {exec: {command: [x]}}}]",
        "",
    );
    let lines: Vec<_> = pod
        .probes
        .iter()
        .map(|probe| format!("{} {} {}", probe.port, probe.path.as_deref().unwrap_or("-"), probe.tls))
        .collect();
    assert_eq!(
        lines,
        ["2 - false", "80 /ready false", "81 / true", "9000 /grpc.health.v1.Health/Check false"]
    );
}
