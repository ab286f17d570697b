//! JSON of the commands: names in snake_case, counts as integers, figures by Linkerd's names.

use anyhow::Result;
use serde_json::{Map, Value, json};
use weft_api::viz::{HttpStats, ResourceRef};

use super::resource::short;

/// An object or a list as text, with a line break at its end.
pub(super) fn text(value: &Value) -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// An object with the figures of requests added.
pub(super) fn with_figures(mut object: Value, http: Option<&HttpStats>) -> Value {
    let latency = http.map(|http| http.latency_ms).unwrap_or_default();
    let figures = [
        ("success", json!(http.and_then(|http| http.success_rate))),
        ("rps", json!(http.map(|http| http.rps))),
        ("latency_ms_p50", json!(latency.p50)),
        ("latency_ms_p95", json!(latency.p95)),
        ("latency_ms_p99", json!(latency.p99)),
    ];
    if let Value::Object(map) = &mut object {
        map.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    }
    object
}

/// A number of things. Figures of Prometheus are not always whole.
pub(super) fn count(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

/// `deploy/web`.
pub(super) fn name(resource: &ResourceRef) -> String {
    format!("{}/{}", short(resource.kind), resource.name)
}

/// An answer of the API with names in snake_case, and counts as integers.
pub(super) fn of_api(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().map(member).collect::<Map<_, _>>()),
        Value::Array(all) => all.into_iter().map(of_api).collect(),
        value => value,
    }
}

fn member((name, value): (String, Value)) -> (String, Value) {
    let value = match (name.as_str(), &value) {
        ("connections" | "requests" | "failures", Value::Number(number)) => {
            json!(count(number.as_f64().unwrap_or_default()))
        }
        _ => of_api(value),
    };
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    (snake, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_api_become_snake_case_and_counts_integers() {
        let answer = json!([{ "successRate": 0.5, "baselineP99Ms": 1.0, "worst": { "connections": 3.0 } }]);
        assert_eq!(
            of_api(answer).to_string(),
            r#"[{"baseline_p99_ms":1.0,"success_rate":0.5,"worst":{"connections":3}}]"#
        );
    }

    #[test]
    fn an_object_without_requests_has_empty_figures() {
        let object = with_figures(json!({ "name": "web" }), None);
        assert_eq!((&object["name"], &object["rps"]), (&json!("web"), &Value::Null));
        assert!(object.as_object().is_some_and(|map| map.contains_key("latency_ms_p99")));
    }
}
