//! Checks that sources and the index know the model, but not each other.

use std::{fs, path::Path};

use super::{Kind, Object};
use crate::testing::raw_objects;

/// The code of a folder without comments and tests.
fn code(folder: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let mut code = String::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with("tests.rs") {
            let text = fs::read_to_string(path).unwrap();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            code.extend(lines.flat_map(|line| [line, "\n"]));
        }
    }
    code
}

#[test]
fn sources_and_the_index_do_not_import_each_other() {
    for (folder, others) in [
        ("index", ["manifests", "feed"]),
        ("manifests", ["index", "feed"]),
        ("model", ["index", "manifests"]),
    ] {
        let code = code(folder);
        assert!(code.contains("model") || folder == "model", "{folder} does not use the model");
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        for other in others {
            // `index` is also the name of variables.
            let imports = code.match_indices(other).filter(|(at, _)| {
                let (before, after) = (&code[..*at], &code[at + other.len()..]);
                let is_path = before.ends_with("crate::") || after.starts_with("::");
                !before.ends_with(is_word) && !after.starts_with(is_word) && (is_path || other != "index")
            });
            let found: Vec<_> = imports.map(|(at, _)| code[at..].lines().next()).collect();
            assert!(found.is_empty(), "{folder} imports {other}: {found:?}");
        }
    }
}

#[test]
fn trimmed_objects_have_only_what_weft_reads() {
    let text = r#"
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: demo, uid: "1", labels: {app: a}, annotations: {linkerd.io/inject: enabled, other: x},
 managedFields: [{manager: m}], ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: u, controller: true}]},
 spec: {nodeName: one, volumes: [{name: v}], initContainers: [{name: init}, {name: side, restartPolicy: Always}], containers: [
  {name: app, image: i, env: [{name: A, value: secret}], ports: [{containerPort: 80, hostPort: 80}],
   livenessProbe: {exec: {command: [x]}}, readinessProbe: {httpGet: {port: 80, httpHeaders: [{name: h, value: v}]}}},
  {name: linkerd-proxy, env: [{name: LINKERD2_PROXY_INBOUND_LISTEN_ADDR, value: "0.0.0.0:4143"}, {name: B, value: b}]}]},
 status: {podIP: 10.0.0.1, phase: Running, conditions: [{type: Ready, status: "True", message: m}, {type: Other, status: "True"}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: one, labels: {topology.kubernetes.io/zone: z, other: x}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: viz, labels: {linkerd.io/extension: viz, other: x}}}
"#;
    let objects: Vec<Object> = raw_objects(text).into_iter().map(Object::trimmed).collect();
    let [Object::Namespace(namespace), Object::Pod(pod), Object::MetadataOnly(Kind::Node, node)] =
        &objects[..]
    else {
        panic!("{objects:?}")
    };
    for metadata in [&namespace.metadata, node] {
        assert_eq!(metadata.labels.as_ref().unwrap().len(), 1);
    }
    assert_eq!(pod.metadata.annotations.as_ref().unwrap().len(), 1);
    assert!(pod.metadata.managed_fields.is_none() && pod.metadata.owner_references.is_some());
    let spec = pod.spec.as_ref().unwrap();
    assert!(spec.volumes.is_none());
    let names: Vec<_> =
        spec.init_containers.iter().flatten().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["side"]);
    let [app, linkerd] = &spec.containers[..] else { panic!() };
    assert!(app.image.is_none() && app.env.is_none() && app.liveness_probe.is_none());
    let probe = app.readiness_probe.as_ref().unwrap();
    assert!(probe.http_get.as_ref().unwrap().http_headers.is_none());
    assert_eq!(linkerd.env.as_ref().unwrap().len(), 1);
    assert_eq!(pod.status.as_ref().unwrap().conditions.as_ref().unwrap().len(), 1);
}
