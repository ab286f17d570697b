//! Lays values over default values, as Helm does.

use serde_json::{Map, Value};

/// `overrides` laid over `defaults`. Maps are merged; `null` removes a default value.
pub(crate) fn coalesce(defaults: Value, overrides: &Value) -> Value {
    match (defaults, overrides) {
        (Value::Object(mut defaults), Value::Object(overrides)) => {
            for (key, value) in overrides {
                match (defaults.remove(key), value) {
                    (_, Value::Null) => {}
                    (Some(default), value) => {
                        defaults.insert(key.clone(), coalesce(default, value));
                    }
                    (None, value) => {
                        defaults.insert(key.clone(), coalesce(Value::Object(Map::new()), value));
                    }
                }
            }
            Value::Object(defaults)
        }
        (_, overrides) => overrides.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_are_merged_and_null_removes_a_default() {
        let defaults = json!({"a": {"b": 1, "c": 2}, "d": [1], "e": 3});
        let values =
            coalesce(defaults.clone(), &json!({"a": {"b": 5}, "d": [2], "e": null, "f": {"g": null}}));
        assert_eq!(values, json!({"a": {"b": 5, "c": 2}, "d": [2], "f": {}}));
    }
}
