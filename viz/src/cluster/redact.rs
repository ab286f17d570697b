//! Removes from objects what must not be shown, and what only fills the page.

use serde_json::{Map, Value};

const HIDDEN: &str = "(hidden)";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The object without values of environment variables and headers, `managedFields` and the copy of itself that kubectl
/// leaves in an annotation.
pub(super) fn redacted(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        clean(metadata);
    }
    hide(&mut object);
    object
}

fn clean(metadata: &mut Map<String, Value>) {
    metadata.remove("managedFields");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// Pods are also in templates, at any depth.
fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "env" | "httpHeaders" => hide_values(value),
                    _ => hide(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

fn hide_values(list: &mut Value) {
    for item in list.as_array_mut().into_iter().flatten() {
        if let Some(value) = item.get_mut("value") {
            *value = HIDDEN.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_value_of_an_environment_or_a_header_is_shown() {
        let object = json!({
            "metadata": { "name": "web", "managedFields": [{}], "annotations": { LAST_APPLIED: "hunter2" } },
            "spec": { "template": { "spec": {
                "initContainers": [{ "env": [{ "name": "PASSWORD", "value": "hunter2" }] }],
                "containers": [{
                    "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }],
                    "livenessProbe": { "httpGet": { "httpHeaders": [{ "name": "authorization", "value": "hunter2" }] } },
                }],
            } } },
        });
        let text = redacted(object).to_string();
        assert!(!text.contains("hunter2") && !text.contains("managedFields"), "{text}");
        assert!(text.contains("PASSWORD") && text.contains("secretKeyRef"), "{text}");
    }
}
