//! Reads assignments as `--set` has them: `a.b=1,list[0].name=x,names={a,b}`.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};

/// What the text after `=` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetKind {
    /// true, false, null and integers count as such.
    Typed,
    /// Everything is a string.
    String,
    /// It is the name of a file that has the string.
    File,
}

/// Lists are at most this long, so that a typo in an index does not use all memory.
const MAX_INDEX: usize = 1024;

/// Makes the assignments in `text` on `values`.
pub(crate) fn set(values: &mut Value, text: &str, kind: SetKind) -> Result<()> {
    for assignment in split(text, ',') {
        let (path, value) = split_once(&assignment, '=')
            .ok_or_else(|| anyhow!("{assignment:?} has no `=`; write NAME=VALUE"))?;
        let value = match kind {
            SetKind::File => {
                let name = unescape(&value);
                Value::String(std::fs::read_to_string(&name).with_context(|| format!("cannot read {name}"))?)
            }
            kind => match value.strip_prefix('{').and_then(|v| v.strip_suffix('}')) {
                Some("") => Value::Array(Vec::new()),
                Some(items) => {
                    Value::Array(split(items, ',').iter().map(|item| scalar(item, kind)).collect())
                }
                None => scalar(&value, kind),
            },
        };
        *place(values, &path)? = value;
    }
    Ok(())
}

fn scalar(text: &str, kind: SetKind) -> Value {
    let text = unescape(text);
    if kind == SetKind::String {
        return Value::String(text);
    }
    match text.as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        "0" => Value::from(0),
        // As in Helm: digits after a leading zero are not a number.
        number if !number.starts_with('0') => {
            number.parse::<i64>().map_or_else(|_| Value::String(number.to_owned()), Value::from)
        }
        text => Value::String(text.to_owned()),
    }
}

/// The place that a path such as `a.b[2].c` names. What is missing on the way is made.
fn place<'a>(values: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    let mut at = values;
    for part in split(path, '.') {
        let (name, indices) = match part.find('[') {
            Some(bracket) => part.split_at(bracket),
            None => (part.as_str(), ""),
        };
        let name = unescape(name);
        if name.is_empty() {
            bail!("{path:?} has an empty name");
        }
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { bail!("{path:?} cannot be set") };
        at = map.entry(name).or_insert(Value::Null);
        for index in indices.split_terminator(']') {
            let index: usize = index
                .strip_prefix('[')
                .and_then(|index| index.parse().ok())
                .filter(|index| *index <= MAX_INDEX)
                .ok_or_else(|| anyhow!("{part:?}: an index is a number up to {MAX_INDEX}, as in name[0]"))?;
            if !at.is_array() {
                *at = Value::Array(Vec::new());
            }
            let Value::Array(items) = at else { bail!("{path:?} cannot be set") };
            if items.len() <= index {
                items.resize(index + 1, Value::Null);
            }
            at = &mut items[index];
        }
    }
    Ok(at)
}

/// The parts between separators, except those behind a backslash or inside braces.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut part, mut depth, mut escaped) = (Vec::new(), String::new(), 0usize, false);
    for c in text.chars() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '{' {
            depth += 1;
        } else if c == '}' {
            depth = depth.saturating_sub(1);
        } else if c == separator && depth == 0 {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        part.push(c);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn split_once(text: &str, separator: char) -> Option<(String, String)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == separator {
            return Some((text[..at].to_owned(), text[at + c.len_utf8()..].to_owned()));
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(text: &str, kind: SetKind) -> Value {
        let mut values = json!({});
        set(&mut values, text, kind).unwrap();
        values
    }

    #[test]
    fn paths_lists_and_types_are_those_of_helm() {
        assert_eq!(
            values("a.b=1,a.c=true,d=null,e=x y,f={1,b},g[1].h=2,i=007,j=1.5", SetKind::Typed),
            json!({"a": {"b": 1, "c": true}, "d": null, "e": "x y", "f": [1, "b"], "g": [null, {"h": 2}], "i": "007", "j": "1.5"})
        );
        assert_eq!(values("a=1,b=true", SetKind::String), json!({"a": "1", "b": "true"}));
    }

    #[test]
    fn a_backslash_takes_the_meaning_from_a_separator() {
        assert_eq!(
            values(r"a=1\,2,linkerd\.io/inject=x\=y", SetKind::Typed),
            json!({"a": "1,2", "linkerd.io/inject": "x=y"})
        );
    }

    #[test]
    fn an_assignment_without_a_value_is_refused() {
        let error = set(&mut json!({}), "controllerReplicas", SetKind::Typed).unwrap_err();
        assert_eq!(error.to_string(), "\"controllerReplicas\" has no `=`; write NAME=VALUE");
        assert!(set(&mut json!({}), "a[99999999]=1", SetKind::Typed).is_err());
        assert!(
            set(&mut json!({}), "=1", SetKind::Typed).is_err() || values("=1", SetKind::Typed) != json!({})
        );
    }
}
