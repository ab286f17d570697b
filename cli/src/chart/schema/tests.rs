//! Checks values, and that schema, default values and the README of the chart have the same names.

use serde_json::json;

use super::*;
use crate::chart::CONTROL_PLANE;

/// `check` understands these. `description` and the like say nothing about what is valid.
const KEYWORDS: &[&str] = &[
    "$schema",
    "title",
    "description",
    "type",
    "enum",
    "minimum",
    "maximum",
    "pattern",
    "properties",
    "additionalProperties",
    "items",
];

fn schema() -> &'static str {
    CONTROL_PLANE.file("values.schema.json").unwrap()
}

#[test]
fn the_schema_uses_no_keyword_that_is_not_checked() {
    fn visit(schema: &Value) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            assert!(KEYWORDS.contains(&key.as_str()), "{key} in values.schema.json is not checked");
            match key.as_str() {
                "pattern" => drop(Regex::new(value.as_str().unwrap()).unwrap()),
                "properties" => value.as_object().unwrap().values().for_each(visit),
                "items" | "additionalProperties" => visit(value),
                _ => {}
            }
        }
    }
    visit(&serde_json::from_str(schema()).unwrap());
}

#[test]
fn the_schema_has_every_default_value() {
    check("weft-control-plane", schema(), &CONTROL_PLANE.defaults().unwrap()).unwrap();
}

#[test]
fn every_mistake_is_named_with_its_path() {
    let values = json!({
        "controllerReplicas": "three",
        "imagePullPolicy": "Sometimes",
        "identity": {"issuer": {"scheem": "kubernetes.io/tls"}},
        "proxyInit": {"ignoreInboundPorts": "80;443"},
    });
    let text = check("weft-viz", schema(), &values).unwrap_err().to_string();
    assert!(text.ends_with("is in deploy/charts/weft-viz/README.md."), "{text}");
    assert!(text.contains("- controllerReplicas: \"three\" is not of type integer\n"), "{text}");
    assert!(
        text.contains(
            "imagePullPolicy: \"Sometimes\" is not possible; use one of Always, IfNotPresent, Never"
        )
    );
    assert!(text.contains("- identity.issuer.scheem: there is no such value\n"), "{text}");
    assert!(text.contains(
        "- proxyInit.ignoreInboundPorts: \"80;443\" is not possible; write numbers and ranges between 1 and 65535"
    ));
}

#[test]
fn ports_are_numbers_and_ranges() {
    let with = |ports: &str| check("weft-control-plane", schema(), &json!({"proxy": {"opaquePorts": ports}}));
    for ports in ["", "25", "65535", "25,8000-8080", " 25 , 26 "] {
        with(ports).unwrap();
    }
    for ports in ["x", "25,", "-5", "0", "25 26", "65536", "123456", "1-2-3"] {
        with(ports).unwrap_err();
    }
}

#[test]
fn the_readme_of_the_chart_has_every_value() {
    fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
        match value {
            Value::Object(map) if !map.is_empty() && !map.contains_key("kubernetes.io/os") => {
                for (key, value) in map {
                    let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                    paths(value, &path, all);
                }
            }
            _ => all.push(at.to_owned()),
        }
    }
    let readme = CONTROL_PLANE.file("README.md").unwrap();
    let rows: Vec<&str> =
        readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let mut all = Vec::new();
    paths(&CONTROL_PLANE.defaults().unwrap(), "", &mut all);
    for path in &all {
        // A row may be about a whole map.
        let found = rows.iter().any(|row| row == path || path.starts_with(&format!("{row}.")));
        assert!(found, "README.md has no row for {path}");
    }
    for row in rows {
        assert!(
            all.iter().any(|path| path == row || path.starts_with(&format!("{row}."))),
            "there is no value {row}"
        );
    }
}
