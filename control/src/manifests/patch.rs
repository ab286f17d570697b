//! Merges overlays onto a document.

use serde_json::{Map, Value};

/// Applies each of `parts` to those before it as a JSON merge patch (RFC 7396): mappings are merged, null removes a
/// key, everything else replaces the value.
pub(super) fn merged(parts: impl Iterator<Item = Value>) -> Value {
    let mut whole = Value::Null;
    for part in parts {
        patch(&mut whole, &part);
    }
    whole
}

fn patch(target: &mut Value, overlay: &Value) {
    let Value::Object(overlay) = overlay else {
        *target = overlay.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in overlay {
        match value {
            Value::Null => {
                target.remove(key);
            }
            value => patch(target.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}
