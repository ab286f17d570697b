//! Removes from objects what must not be shown, and what only fills the page.

use serde_json::Value;

use super::secrets::{self, HIDDEN};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The object without values of environment variables and headers, without secrets in annotations,
/// arguments and commands, `managedFields` and the copy of itself that kubectl leaves in an annotation.
pub(super) fn redacted(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    hide(&mut object);
    object
}

/// Pods are also in templates, and commands in probes and hooks, at any depth.
fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| name != "annotations" || clean(value));
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("env" | "httpHeaders", value) => hide_values(value),
                    ("args" | "command", Value::Array(words)) => hide_words(words),
                    ("annotations", _) => {}
                    (_, value) => hide(value),
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

/// Cleans annotations. Whether there are any left.
fn clean(annotations: &mut Value) -> bool {
    let Some(annotations) = annotations.as_object_mut() else { return true };
    annotations.remove(LAST_APPLIED);
    for (name, value) in annotations.iter_mut() {
        *value = match value.as_str() {
            Some(text) if !secrets::is_secret(name) => secrets::text(text).into(),
            _ => HIDDEN.into(),
        };
    }
    !annotations.is_empty()
}

fn hide_words(words: &mut [Value]) {
    let mut is_value = false;
    for word in words {
        let Some(text) = word.as_str() else {
            hide(word);
            continue;
        };
        let is_flag = text.starts_with("--") || (text.starts_with('-') && text.len() == 2);
        let hidden = if is_value && !is_flag { HIDDEN.to_owned() } else { secrets::word(text) };
        is_value = text.starts_with('-') && !text.contains(['=', ' ']) && secrets::is_secret(text);
        *word = hidden.into();
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

    #[test]
    fn secrets_in_arguments_commands_and_annotations_are_hidden() {
        let exec = |command: Value| json!({ "exec": { "command": command } });
        let object = json!({
            "metadata": { "annotations": {
                "example.org/api-key": "hunter2",
                "example.org/config": "{\"user\": \"bob\", \"password\": \"hunter2\"}",
                "linkerd.io/inject": "enabled",
            } },
            "spec": { "template": {
                "metadata": { "annotations": { "example.org/token": "hunter2", LAST_APPLIED: "hunter2" } },
                "spec": { "containers": [{
                    "args": ["--db-password=hunter2", "--api-token", "hunter2", "--verbose", "--port=8080", "-v", "info"],
                    "command": ["sh", "-c", "export AWS_SECRET_ACCESS_KEY='hunter2 x'; TOKEN=hunter3 run --passwd hunter2 --now"],
                    "livenessProbe": exec(json!(["curl", "-H", "Authorization: Bearer hunter2", "http://localhost/up"])),
                    "lifecycle": { "preStop": exec(json!(["leave", "postgres://bob:hunter2@db/shop"])) },
                }] },
            } },
        });
        let text = redacted(object).to_string();
        assert!(!text.contains("hunter"), "{text}");
        for shown in [
            "--db-password=(hidden)",
            "--api-token",
            "--verbose",
            "--port=8080",
            "info",
            "enabled",
            "bob",
            "http://localhost/up",
            "--now",
            "postgres://bob:(hidden)@db/shop",
            "example.org/token",
        ] {
            assert!(text.contains(shown), "{shown}: {text}");
        }
    }
}
