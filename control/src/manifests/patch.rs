//! What do a document and its overlays say together?

use serde_json::{Map, Value};

/// The JSON merge patch (RFC 7396) of `parts`, each onto those before it: mappings are merged, null removes, everything
/// else replaces.
pub(crate) fn merged(parts: impl Iterator<Item = Value>) -> Value {
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
