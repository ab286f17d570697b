//! For every check, a state of the cluster in which it fails.

mod control_plane;
mod data_plane;
mod identity;
mod nodes;
mod pre;

use serde_json::{Value, json};

use crate::{lab::Lab, objects};

pub(crate) struct Failure {
    pub(crate) name: &'static str,
    /// Options of `weft check`.
    pub(crate) options: &'static [&'static str],
    pub(crate) description: &'static str,
    /// `error` or `warning`.
    pub(crate) result: &'static str,
    /// What the explanation must say.
    pub(crate) says: &'static [&'static str],
    /// The heading in docs/check.md.
    pub(crate) anchor: &'static str,
    /// The options with which it succeeds, if others.
    pub(crate) healthy: Option<&'static [&'static str]>,
    pub(crate) break_it: fn(&Lab),
    pub(crate) mend_it: fn(&Lab),
}

const DEFAULT: &[&str] = &[];
const PROXY: &[&str] = &["--proxy", "-n", "demo"];

pub(crate) fn all() -> impl Iterator<Item = &'static Failure> {
    [pre::FAILURES, control_plane::FAILURES, identity::FAILURES, nodes::FAILURES, data_plane::FAILURES]
        .into_iter()
        .flatten()
}

pub(crate) fn renew(lab: &Lab) {
    objects::renew(lab, "n1", 0);
    objects::renew(lab, "n2", 0);
}

/// Deletes an object and keeps it in the lab's folder.
pub(crate) fn take(lab: &Lab, namespace: &str, kind: &str, name: &str) {
    let text = lab.kubectl(&["-n", namespace, "get", kind, name, "-o", "json"], "");
    let mut object: Value = serde_json::from_str(&text).unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    lab.write("taken.json", &object.to_string());
    lab.kubectl(&["-n", namespace, "delete", kind, name, "--wait=false"], "");
}

/// Makes the object again.
pub(crate) fn put(lab: &Lab) {
    let path = lab.path("taken.json");
    lab.kubectl(&["create", "-f", &path], "");
}

pub(crate) fn conditions(lab: &Lab, namespace: &str, pod: &str, conditions: &Value) {
    let pod = format!("pod/{pod}");
    lab.patch(
        &["-n", namespace, &pod, "--subresource=status"],
        &json!({ "status": { "conditions": conditions } }),
    );
}

pub(crate) fn ready(lab: &Lab, namespace: &str, pod: &str, ready: bool) {
    let status = if ready { "True" } else { "False" };
    conditions(lab, namespace, pod, &json!([{ "type": "Ready", "status": status }]));
}

/// The values of the installation.
pub(crate) fn values(lab: &Lab) -> Value {
    let text = lab.kubectl(&["-n", "weft", "get", "cm", "weft-config", "-o", "jsonpath={.data.values}"], "");
    serde_yaml_ng::from_str(&text).unwrap()
}

/// Changes a value in the ConfigMap of the installation.
pub(crate) fn value(lab: &Lab, name: &str, value: Value) {
    let mut values = values(lab);
    values[name] = value;
    lab.patch(
        &["-n", "weft", "configmap/weft-config"],
        &json!({ "data": { "values": serde_yaml_ng::to_string(&values).unwrap() } }),
    );
}
