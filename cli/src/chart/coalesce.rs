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

/// What of `values` differs from `defaults`: laid over `defaults`, it gives `values` again.
pub(crate) fn differing(defaults: &Value, values: &Value) -> Option<Value> {
    match (defaults, values) {
        (Value::Object(defaults), Value::Object(values)) => {
            let mut differences = Map::new();
            for (key, value) in values {
                match defaults.get(key) {
                    Some(default) => {
                        if let Some(difference) = differing(default, value) {
                            differences.insert(key.clone(), difference);
                        }
                    }
                    None => {
                        differences.insert(key.clone(), value.clone());
                    }
                }
            }
            for key in defaults.keys().filter(|key| !values.contains_key(*key)) {
                differences.insert(key.clone(), Value::Null);
            }
            (!differences.is_empty()).then_some(Value::Object(differences))
        }
        (defaults, values) => (!equal(defaults, values)).then(|| values.clone()),
    }
}

/// 1 and 1.0 are the same value.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_are_merged_and_null_removes_a_default() {
        let defaults = json!({"a": {"b": 1, "c": 2}, "d": [1], "e": 3});
        let values = coalesce(defaults.clone(), &json!({"a": {"b": 5}, "d": [2], "e": null, "f": {"g": null}}));
        assert_eq!(values, json!({"a": {"b": 5, "c": 2}, "d": [2], "f": {}}));
    }

    #[test]
    fn the_differences_laid_over_the_defaults_give_the_values() {
        let defaults = json!({"a": {"b": 1, "c": 2}, "d": [1], "e": 3});
        let values = json!({"a": {"b": 5, "c": 2}, "d": [1], "x": "y"});
        let difference = differing(&defaults, &values).unwrap();
        assert_eq!(difference, json!({"a": {"b": 5}, "e": null, "x": "y"}));
        assert_eq!(coalesce(defaults, &difference), values);
    }
}
