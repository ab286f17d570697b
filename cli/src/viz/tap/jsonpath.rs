//! Templates of `weft viz tap -o jsonpath=TEMPLATE`, as kubectl writes them: text with paths in braces.

use std::str::FromStr;

use serde_json::Value;

use crate::viz::access::printable;

/// Longer templates are mistakes.
const MAX_LENGTH: usize = 4096;

/// A template such as `{.source.ip} {.requestInitEvent.path}`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Path(Vec<Step>),
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// From the end if it is negative.
    Index(i64),
    All,
}

impl Template {
    /// The text for an object. What the object does not have is empty.
    pub(super) fn fill(&self, object: &Value) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Path(steps) => {
                let texts: Vec<_> = found(object, steps).into_iter().map(text_of).collect();
                printable(&texts.join(" "))
            }
        };
        self.0.iter().map(part).collect()
    }
}

fn found<'a>(object: &'a Value, steps: &[Step]) -> Vec<&'a Value> {
    let mut values = vec![object];
    for step in steps {
        values = values.into_iter().flat_map(|value| step.of(value)).collect();
    }
    values
}

impl Step {
    fn of<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(items)) => {
                let index = if *index < 0 { index + items.len() as i64 } else { *index };
                usize::try_from(index).ok().and_then(|index| items.get(index)).into_iter().collect()
            }
            (Self::All, Value::Array(items)) => items.iter().collect(),
            (Self::All, Value::Object(fields)) => fields.values().collect(),
            _ => Vec::new(),
        }
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a template is missing: write jsonpath='{.source.ip}'".to_owned());
        }
        if text.len() > MAX_LENGTH {
            return Err(format!("the template is longer than {MAX_LENGTH} characters"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let end = end_of(after).ok_or_else(|| format!("a brace is not closed: {{{after}"))?;
            parts.push(part(after[..end].trim())?);
            rest = &after[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if !parts.iter().any(|part| matches!(part, Part::Path(_))) {
            return Err(format!("{text:?} has no path in braces: write jsonpath='{{.source.ip}}'"));
        }
        Ok(Self(parts))
    }
}

/// Where the brace is that closes: not within quotes.
fn end_of(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '}' => return Some(at),
            None => {}
        }
    }
    None
}

/// What is between braces: a quoted text, or a path.
fn part(text: &str) -> Result<Part, String> {
    let quoted = ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    match quoted {
        Some(quoted) => Ok(Part::Text(quoted.replace("\\n", "\n").replace("\\t", "\t"))),
        None => path(text).map(Part::Path),
    }
}

fn path(text: &str) -> Result<Vec<Step>, String> {
    let wrong = || {
        format!(
            "{{{text}}} is not understood: paths are made of .name, ['name'], [0] and [*], as in {{.requestInitEvent.path}}"
        )
    };
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let step;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let name = &after[..end];
            step = match name {
                "*" => Some(Step::All),
                // `.['name']`, and `.` alone, which is the object.
                "" if after.starts_with('[') || (after.is_empty() && steps.is_empty()) => None,
                _ if is_name(name) => Some(Step::Field(name.to_owned())),
                _ => return Err(wrong()),
            };
            rest = &after[end..];
        } else {
            let (inner, after) =
                rest.strip_prefix('[').and_then(|after| after.split_once(']')).ok_or_else(wrong)?;
            let quoted = inner.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\''));
            step = Some(match (inner, quoted) {
                ("*", _) => Step::All,
                (_, Some(name)) => Step::Field(name.to_owned()),
                _ => Step::Index(inner.parse().map_err(|_| wrong())?),
            });
            rest = after;
        }
        steps.extend(step);
    }
    Ok(steps)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(template: &str) -> String {
        let object = json!({
            "source": { "ip": "10.0.0.1", "port": 80, "metadata": { "pod": "web-1", "a.b": "c" } },
            "requestInitEvent": { "headers": [{ "name": "x" }, { "name": "y" }] },
            "routeMeta": null, "path": "/a\u{1b}[2J",
        });
        template.parse::<Template>().unwrap().fill(&object)
    }

    #[test]
    fn paths_are_filled_in_and_what_is_missing_is_empty() {
        assert_eq!(fill("{.source.ip}:{.source.port}"), "10.0.0.1:80");
        assert_eq!(fill("{$.source.metadata['a.b']}{\"\\t\"}{.source['metadata'].pod}"), "c\tweb-1");
        assert_eq!(fill("{.requestInitEvent.headers[0].name} {.requestInitEvent.headers[-1].name}"), "x y");
        assert_eq!(fill("{.requestInitEvent.headers[*].name}"), "x y");
        assert_eq!(fill("[{.routeMeta}{.nothing.there}{.source[3]}]"), "[]");
        assert_eq!(fill("{.path}{'\\n'}"), "/a\u{fffd}[2J\n", "only a template controls the terminal");
        assert_eq!(fill("{.source.metadata}"), r#"{"a.b":"c","pod":"web-1"}"#);
    }

    #[test]
    fn mistakes_say_what_is_understood() {
        let refused = |template: &str| template.parse::<Template>().unwrap_err();
        assert!(refused("").contains("a template is missing"));
        assert!(refused("source.ip").contains("no path in braces"));
        assert!(refused("{.source").contains("not closed"));
        for text in ["{range .items[*]}", "{.a[?(@.b==1)]}", "{.a[1}", "{.a b}", "{.a..b}"] {
            assert!(refused(text).contains("is not understood"), "{text}");
        }
    }
}
