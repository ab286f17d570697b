//! What the commands do to texts.

use super::{
    stream::{Change, Stream},
    workload::{OWN, Workload},
};

/// The text with all objects annotated.
fn annotated(text: &str, set: &[(&str, &str)]) -> String {
    changed(text, |_| Change {
        path: OWN,
        set: set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        remove: Vec::new(),
    })
}

/// The text without the mesh's annotations.
fn cleaned(text: &str) -> String {
    changed(text, |workload| Change { path: OWN, set: Vec::new(), remove: workload.mesh_annotations(OWN) })
}

fn changed(text: &str, change: impl Fn(&Workload<'_>) -> Change) -> String {
    let mut stream = Stream::new(text.to_owned()).unwrap();
    let changes: Vec<_> =
        stream.objects().into_iter().map(|(place, object)| (place, change(&Workload::new(object)))).collect();
    for (place, change) in changes {
        stream.change(place, change);
    }
    stream.text().unwrap()
}

const ENABLED: &[(&str, &str)] = &[("linkerd.io/inject", "enabled")];

#[test]
fn comments_order_and_quotes_stay() {
    let before = "\
# The web server.
apiVersion: apps/v1
kind: Deployment   # of pods
metadata:
  # Its name.
  name: 'web'
  namespace: \"demo\"
spec:
  template:
    spec:
      containers: [{name: web, image: nginx}]   # one
---
kind: Service
metadata: {name: web}
";
    let after = "\
# The web server.
apiVersion: apps/v1
kind: Deployment   # of pods
metadata:
  annotations:
    linkerd.io/inject: enabled
  # Its name.
  name: 'web'
  namespace: \"demo\"
spec:
  template:
    spec:
      containers: [{name: web, image: nginx}]   # one
---
kind: Service
metadata: {\"annotations\": {\"linkerd.io/inject\": \"enabled\"}, name: web}
";
    assert_eq!(annotated(before, ENABLED), after);
}

#[test]
fn annotations_that_are_there_stay() {
    let before = "\
kind: Deployment
metadata:
  annotations:
    # Why.
    a: |
      several
      lines
    b: c
  name: web
";
    let after = "\
kind: Deployment
metadata:
  annotations:
    linkerd.io/inject: enabled
    # Why.
    a: |
      several
      lines
    b: c
  name: web
";
    assert_eq!(annotated(before, ENABLED), after);
    assert_eq!(cleaned(after), before);
}

#[test]
fn an_annotation_with_another_value_is_changed_and_the_same_is_left() {
    let before = "kind: Pod\nmetadata:\n  annotations:\n    linkerd.io/inject: ingress # here\n  name: a\n";
    let after =
        "kind: Pod\nmetadata:\n  annotations:\n    linkerd.io/inject: \"enabled\" # here\n  name: a\n";
    assert_eq!(annotated(before, ENABLED), after);
    assert_eq!(annotated(after, ENABLED), after);
}

#[test]
fn the_items_of_a_list_are_changed() {
    let before = "\
apiVersion: v1
items:
- kind: Deployment
  metadata:
    annotations: {}
    name: a
- metadata:
    name: b
  kind: Deployment
- kind: Deployment
  metadata:
    annotations:
    name: c
kind: List
";
    let after = "\
apiVersion: v1
items:
- kind: Deployment
  metadata:
    annotations: {\"linkerd.io/inject\": \"enabled\"}
    name: a
- metadata:
    annotations:
      linkerd.io/inject: enabled
    name: b
  kind: Deployment
- kind: Deployment
  metadata:
    annotations:
      linkerd.io/inject: enabled
    name: c
kind: List
";
    assert_eq!(annotated(before, ENABLED), after);
}

#[test]
fn json_stays_json() {
    let before =
        "{\n    \"kind\": \"Deployment\",\n    \"metadata\": {\n        \"name\": \"web\"\n    }\n}\n";
    let after = "{\n    \"kind\": \"Deployment\",\n    \"metadata\": {\n        \"annotations\": {\"linkerd.io/inject\": \"enabled\"},\n        \"name\": \"web\"\n    }\n}\n";
    assert_eq!(annotated(before, ENABLED), after);
    let both =
        r#"{"kind":"Pod","metadata":{"annotations":{"a":"b","linkerd.io/inject":"enabled"},"name":"x"}}"#;
    assert_eq!(cleaned(both), r#"{"kind":"Pod","metadata":{"annotations":{"a":"b"},"name":"x"}}"#);
}

#[test]
fn numbers_are_written_as_strings() {
    let after = annotated("kind: Pod\nmetadata:\n  name: a\n", &[("config.linkerd.io/opaque-ports", "3306")]);
    assert_eq!(
        after,
        "kind: Pod\nmetadata:\n  annotations:\n    config.linkerd.io/opaque-ports: \"3306\"\n  name: a\n"
    );
}

#[test]
fn the_last_annotation_takes_the_mapping_with_it() {
    let before = "kind: Pod\r\nmetadata:\r\n  name: a\r\n  annotations:\r\n    linkerd.io/inject: enabled\r\nspec: {}\r\n";
    assert_eq!(cleaned(before), "kind: Pod\r\nmetadata:\r\n  name: a\r\nspec: {}\r\n");
}

#[test]
fn what_cannot_be_edited_in_place_is_written_anew() {
    // The annotations are an alias: they cannot be changed for one object only.
    let before = "kind: Pod\nmetadata:\n  labels: &all {a: b}\n  annotations: *all\n";
    let value: serde_yaml_ng::Value = serde_yaml_ng::from_str(&annotated(before, ENABLED)).unwrap();
    assert_eq!(value["metadata"]["annotations"]["linkerd.io/inject"], "enabled");
    assert_eq!(value["metadata"]["annotations"]["a"], "b");
    assert_eq!(value["metadata"]["labels"].as_mapping().unwrap().len(), 1);
}

#[test]
fn an_object_that_opted_out_keeps_its_annotation() {
    let text = "kind: Pod\nmetadata:\n  annotations:\n    linkerd.io/inject: disabled\n    linkerd.io/created-by: x\n";
    assert_eq!(cleaned(text), "kind: Pod\nmetadata:\n  annotations:\n    linkerd.io/inject: disabled\n");
}
