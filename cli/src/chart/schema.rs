//! Checks values against values.schema.json: as much of JSON Schema as that file uses.

use anyhow::{Context, Result, bail};
use regex::Regex;
use serde_json::{Map, Value};

/// Fails with all mistakes in `values` of a chart.
pub(super) fn check(chart: &str, schema: &str, values: &Value) -> Result<()> {
    let schema: Value = serde_json::from_str(schema).context("values.schema.json")?;
    let mut problems = Vec::new();
    walk(&schema, values, "", &mut problems);
    if !problems.is_empty() {
        bail!(
            "the values are not valid:\n{}\nThe table of values is in deploy/charts/{chart}/README.md.",
            problems.iter().map(|problem| format!("- {problem}")).collect::<Vec<_>>().join("\n")
        );
    }
    Ok(())
}

fn walk(schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
    if let Some(types) = schema.get("type") {
        let types: Vec<&str> = match types {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        if !types.iter().any(|name| is(name, value)) {
            problems.push(format!("{at}: {value} is not of type {}", types.join(" or ")));
            return;
        }
    }
    check_value(schema, value, at, problems);
    match value {
        Value::Object(map) => walk_object(schema, map, at, problems),
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    walk(schema, item, &format!("{at}[{index}]"), problems);
                }
            }
        }
        _ => {}
    }
}

/// Checks the value itself, whatever is inside it.
fn check_value(schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        let allowed: Vec<_> =
            allowed.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
        problems.push(format!("{at}: {value} is not possible; use one of {}", allowed.join(", ")));
    }
    let bound = |name| schema.get(name).and_then(Value::as_f64).zip(value.as_f64());
    if let Some((minimum, number)) = bound("minimum")
        && number < minimum
    {
        problems.push(format!("{at}: {value} is less than {minimum}"));
    }
    if let Some((maximum, number)) = bound("maximum")
        && number > maximum
    {
        problems.push(format!("{at}: {value} is more than {maximum}"));
    }
    if let (Some(pattern), Some(text)) = (schema.get("pattern").and_then(Value::as_str), value.as_str()) {
        // A pattern that does not compile matches nothing; a test finds it.
        let matches = Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
        if !matches {
            let advice = schema.get("description").and_then(Value::as_str).unwrap_or("it has another form");
            problems.push(format!("{at}: {value} is not possible; {advice}"));
        }
    }
}

fn walk_object(schema: &Value, map: &Map<String, Value>, at: &str, problems: &mut Vec<String>) {
    for (key, value) in map {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match (schema.get("properties").and_then(|p| p.get(key)), schema.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => {
                walk(schema, value, &path, problems);
            }
            (None, Some(Value::Bool(false))) => problems.push(format!("{path}: there is no such value")),
            (None, _) => {}
        }
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "null" => value.is_null(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
