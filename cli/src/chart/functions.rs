//! The functions of Helm and Sprig that the charts use. A template that uses another one fails with its name.

use std::{collections::BTreeMap, sync::Arc};

use base64::Engine;
use gotmpl::{Result, TemplateError, Value, ValueFunc};

use super::{json::to_json, to_yaml};

type Function = fn(&[Value]) -> Result<Value>;

const FUNCTIONS: &[(&str, Function)] = &[
    ("b64enc", |args| {
        Ok(text(base64::engine::general_purpose::STANDARD.encode(string(args, 0)?.as_bytes())))
    }),
    ("default", |args| {
        let given = args.get(1).unwrap_or(&Value::Nil);
        Ok(if given.is_truthy() { given.clone() } else { argument(args, 0)?.clone() })
    }),
    ("dict", |args| {
        let pairs = args.chunks(2).map(|pair| Ok((string(pair, 0)?, argument(pair, 1)?.clone())));
        Ok(Value::Map(Arc::new(pairs.collect::<Result<_>>()?)))
    }),
    ("empty", |args| Ok(Value::Bool(!argument(args, 0)?.is_truthy()))),
    ("fail", |args| Err(TemplateError::Exec(string(args, 0)?.to_string()))),
    ("has", |args| {
        let wanted = argument(args, 0)?;
        Ok(Value::Bool(
            matches!(argument(args, 1)?, Value::List(items) if items.iter().any(|item| item == wanted)),
        ))
    }),
    ("hasKey", |args| {
        let key = string(args, 1)?;
        Ok(Value::Bool(matches!(argument(args, 0)?, Value::Map(map) if map.contains_key(&*key))))
    }),
    ("indent", |args| Ok(text(indent(args)?))),
    ("int", |args| Ok(Value::Int(integer(argument(args, 0)?)))),
    ("join", |args| {
        let separator = string(args, 0)?;
        let Value::List(items) = argument(args, 1)? else { return Ok(text(argument(args, 1)?.to_string())) };
        Ok(text(items.iter().map(ToString::to_string).collect::<Vec<_>>().join(&separator)))
    }),
    ("list", |args| Ok(Value::List(args.into()))),
    ("lower", |args| Ok(text(string(args, 0)?.to_lowercase()))),
    ("merge", |args| {
        args.iter().skip(1).try_fold(argument(args, 0)?.clone(), |merged, other| merge(&merged, other))
    }),
    ("nindent", |args| Ok(text(format!("\n{}", indent(args)?)))),
    ("omit", |args| {
        let mut map = map(args, 0)?.clone();
        for at in 1..args.len() {
            map.remove(&*string(args, at)?);
        }
        Ok(Value::Map(Arc::new(map)))
    }),
    ("quote", |args| {
        let quoted =
            args.iter().filter(|arg| !matches!(arg, Value::Nil)).map(|arg| format!("{:?}", arg.to_string()));
        Ok(text(quoted.collect::<Vec<_>>().join(" ")))
    }),
    ("replace", |args| Ok(text(string(args, 2)?.replace(&*string(args, 0)?, &string(args, 1)?)))),
    ("required", |args| match argument(args, 1)? {
        Value::Nil => Err(TemplateError::Exec(string(args, 0)?.to_string())),
        Value::String(given) if given.is_empty() => Err(TemplateError::Exec(string(args, 0)?.to_string())),
        given => Ok(given.clone()),
    }),
    ("splitList", |args| {
        let items: Vec<_> =
            string(args, 1)?.split(&*string(args, 0)?).map(|item| text(item.to_owned())).collect();
        Ok(Value::List(items.into()))
    }),
    ("squote", |args| {
        let quoted = args.iter().filter(|arg| !matches!(arg, Value::Nil)).map(|arg| format!("'{arg}'"));
        Ok(text(quoted.collect::<Vec<_>>().join(" ")))
    }),
    ("ternary", |args| Ok(argument(args, if argument(args, 2)?.is_truthy() { 0 } else { 1 })?.clone())),
    ("toString", |args| Ok(text(string(args, 0)?.to_string()))),
    ("toYaml", |args| Ok(text(to_yaml(&to_json(argument(args, 0)?))))),
    ("trim", |args| Ok(text(string(args, 0)?.trim().to_owned()))),
    ("trimPrefix", |args| {
        let (prefix, whole) = (string(args, 0)?, string(args, 1)?);
        Ok(text(whole.strip_prefix(&*prefix).unwrap_or(&whole).to_owned()))
    }),
    ("trimSuffix", |args| {
        let (suffix, whole) = (string(args, 0)?, string(args, 1)?);
        Ok(text(whole.strip_suffix(&*suffix).unwrap_or(&whole).to_owned()))
    }),
];

/// All functions but `include`, which needs the templates.
pub(super) fn functions() -> BTreeMap<String, ValueFunc> {
    FUNCTIONS.iter().map(|(name, function)| ((*name).to_owned(), Arc::new(*function) as ValueFunc)).collect()
}

fn argument(args: &[Value], at: usize) -> Result<&Value> {
    args.get(at).ok_or_else(|| TemplateError::Exec(format!("argument {} is missing", at + 1)))
}

fn string(args: &[Value], at: usize) -> Result<Arc<str>> {
    Ok(match argument(args, at)? {
        Value::String(text) => text.clone(),
        Value::Nil => "".into(),
        other => other.to_string().into(),
    })
}

fn map(args: &[Value], at: usize) -> Result<&BTreeMap<Arc<str>, Value>> {
    match argument(args, at)? {
        Value::Map(map) => Ok(map),
        other => Err(TemplateError::Exec(format!("{} is not a map", other.type_name()))),
    }
}

fn text(text: String) -> Value {
    Value::String(text.into())
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Int(i) => *i,
        Value::Uint(u) => i64::try_from(*u).unwrap_or(i64::MAX),
        Value::Float(f) => *f as i64,
        Value::String(text) => text.parse().unwrap_or(0),
        Value::Bool(b) => i64::from(*b),
        _ => 0,
    }
}

fn indent(args: &[Value]) -> Result<String> {
    let by = usize::try_from(integer(argument(args, 0)?)).unwrap_or(0).min(100);
    let spaces = " ".repeat(by);
    Ok(format!("{spaces}{}", string(args, 1)?.replace('\n', &format!("\n{spaces}"))))
}

/// What `first` has wins, unless it is empty.
fn merge(first: &Value, second: &Value) -> Result<Value> {
    let (Value::Map(first), Value::Map(second)) = (first, second) else {
        return Err(TemplateError::Exec("merge: only maps can be merged".to_owned()));
    };
    let mut merged = (**first).clone();
    for (key, value) in second.iter() {
        let value = match merged.get(key) {
            Some(own @ Value::Map(_)) if matches!(value, Value::Map(_)) => merge(own, value)?,
            Some(own) if own.is_truthy() => continue,
            _ => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
    Ok(Value::Map(Arc::new(merged)))
}
