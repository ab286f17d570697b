//! Writes values as YAML, with sorted keys, as Helm's `toYaml` does.

use anyhow::{Context, Result};
use serde_json::Value;

/// The values as YAML, without a newline at the end.
pub(crate) fn to_yaml(value: &Value) -> Result<String> {
    let text = serde_yaml_ng::to_string(&normalize(value)).context("the values cannot be written as YAML")?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Sorted keys, and integers without a decimal point.
fn normalize(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            Value::Object(keys.into_iter().map(|(key, value)| (key.clone(), normalize(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(normalize).collect()),
        Value::Number(n) => match n.as_f64() {
            // Exact: an f64 holds integers up to 2^53.
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 9e15 => Value::from(f as i64),
            _ => value.clone(),
        },
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_have_no_decimal_point_and_keys_are_sorted() {
        assert_eq!(to_yaml(&json!({"b": 3.0, "a": {"c": 0.5}})).unwrap(), "a:\n  c: 0.5\nb: 3");
    }

    #[test]
    fn strings_that_another_parser_may_take_for_something_else_are_quoted() {
        for text in ["yes", "no", "on", "off", "y", "n", "true", "null", "~", "1", "0x1f", "1e3", "", "1.5", "08", "0o7"] {
            let yaml = to_yaml(&json!({ "key": text })).unwrap();
            assert!(yaml.contains('\'') || yaml.contains('"'), "{text:?} became {yaml:?}");
        }
    }
}
