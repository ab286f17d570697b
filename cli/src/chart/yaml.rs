//! Writes values as YAML that every parser reads the same way: kubectl, for example, takes a plain `yes` for a boolean.

use std::fmt::Write;

use serde_json::Value;

/// The values as YAML with sorted keys, without a newline at the end.
pub(crate) fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => entries(map, 0, &mut out),
        Value::Array(items) if !items.is_empty() => list(items, 0, &mut out),
        value => out = scalar(value, 0),
    }
    out.truncate(out.trim_end_matches('\n').len());
    out
}

fn entries(map: &serde_json::Map<String, Value>, depth: usize, out: &mut String) {
    let mut sorted: Vec<_> = map.iter().collect();
    sorted.sort_by_key(|(key, _)| *key);
    for (at, (key, value)) in sorted.into_iter().enumerate() {
        // The first one of a map in a list stands behind the dash.
        if at > 0 || !out.ends_with("- ") {
            out.push_str(&"  ".repeat(depth));
        }
        out.push_str(&string(key));
        out.push(':');
        match value {
            Value::Object(map) if !map.is_empty() => {
                out.push('\n');
                entries(map, depth + 1, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                list(items, depth, out);
            }
            value => {
                let _ = writeln!(out, " {}", scalar(value, depth + 1));
            }
        }
    }
}

fn list(items: &[Value], depth: usize, out: &mut String) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 || !out.ends_with("- ") {
            out.push_str(&"  ".repeat(depth));
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => entries(map, depth + 1, out),
            Value::Array(items) if !items.is_empty() => list(items, depth + 1, out),
            value => {
                let _ = writeln!(out, "{}", scalar(value, depth + 1));
            }
        }
    }
}

fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::Number(n) => match n.as_f64() {
            // Exact: an f64 holds integers up to 2^53.
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 9e15 => (f as i64).to_string(),
            _ => n.to_string(),
        },
        Value::String(text) if is_block(text) => {
            let indent = "  ".repeat(depth);
            let chomping = if text.ends_with('\n') { "" } else { "-" };
            let lines: Vec<_> = text.trim_end_matches('\n').split('\n').collect();
            let lines = lines.iter().map(|line| match *line {
                "" => "\n".to_owned(),
                line => format!("\n{indent}{line}"),
            });
            format!("|{chomping}{}", lines.collect::<String>())
        }
        Value::String(text) => string(text),
        value => value.to_string(),
    }
}

/// Lines that can stand in a block scalar as they are.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\n', '\t'])
        && text.chars().all(|c| c == '\n' || c == '\t' || (' '..='~').contains(&c) || c >= '\u{a1}')
}

/// A plain word where no parser can take it for anything else, else quoted as in JSON.
fn string(text: &str) -> String {
    const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.ends_with(|c: char| c.is_ascii_alphanumeric() || "/)%".contains(c))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " _-./:@+=()%".contains(c))
        && !text.contains(": ")
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_have_no_decimal_point_and_keys_are_sorted() {
        assert_eq!(to_yaml(&json!({"b": 3.0, "a": {"c": 0.5, "d": {}}})), "a:\n  c: 0.5\n  d: {}\nb: 3");
    }

    #[test]
    fn lists_and_maps_nest() {
        let value = json!({"a": [{"b": 1, "c": [2, 3]}, [4, [5]], []]});
        let yaml = to_yaml(&value);
        assert_eq!(yaml, "a:\n- b: 1\n  c:\n  - 2\n  - 3\n- - 4\n  - - 5\n- []");
        assert_eq!(serde_yaml_ng::from_str::<Value>(&yaml).unwrap(), value);
    }

    #[test]
    fn strings_that_a_parser_may_take_for_something_else_are_quoted() {
        for text in [
            "yes",
            "No",
            "on",
            "off",
            "y",
            "n",
            "true",
            "null",
            "~",
            "1",
            "0x1f",
            "1e3",
            "",
            "1.5",
            "08",
            "1:30",
            "2001-01-01",
            "a: b",
            "a #b",
            "- a",
            "{",
            "*a",
            "<<",
            "=",
            "é",
        ] {
            let yaml = to_yaml(&json!({ "key": text }));
            assert!(yaml.ends_with('"'), "{text:?} became {yaml:?}");
        }
    }

    #[test]
    fn every_string_is_read_back_as_it_was() {
        for text in [
            "a",
            "a\nb",
            "a\nb\n",
            "a\n\nb\n\n",
            " a\nb",
            "a\n  b\n",
            "\ta",
            "tab\there\nx",
            "\u{1}",
            "a\r\nb",
            "-----BEGIN X-----\nabc=\n-----END X-----\n",
            "ünï\nx",
            "a\\b\"c",
            "trailing \n",
        ] {
            for value in
                [json!({ "key": text }), json!([text]), json!({ "a": [{ "b": text }] }), json!({ text: 1 })]
            {
                let yaml = to_yaml(&value);
                assert_eq!(serde_yaml_ng::from_str::<Value>(&format!("{yaml}\n")).unwrap(), value, "{yaml}");
            }
        }
    }
}
