//! Reads values from YAML.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Number, Value};

/// The values in a YAML text. Without any, there is an empty map.
pub(crate) fn parse_values(text: &str) -> Result<Value> {
    let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
    match convert(yaml)? {
        Value::Null => Ok(Value::Object(Map::new())),
        values @ Value::Object(_) => Ok(values),
        _ => bail!("the values must be a mapping, such as `clusterDomain: cluster.local`"),
    }
}

/// The value at a path such as `identity.issuer.scheme`.
pub(crate) fn value_at<'a>(values: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(values, |value, key| value.get(key)).filter(|value| !value.is_null())
}

/// Takes the value at a path out of the values.
pub(crate) fn take(values: &mut Value, path: &str) -> Option<Value> {
    let (parents, key) = match path.rsplit_once('.') {
        Some((parents, key)) => (Some(parents), key),
        None => (None, path),
    };
    let parent =
        parents.into_iter().flat_map(|path| path.split('.')).try_fold(values, |v, key| v.get_mut(key))?;
    parent.as_object_mut()?.remove(key)
}

/// Helm reads every number of a file as a float. Templates can tell the difference, so this does the same.
fn convert(yaml: serde_yaml_ng::Value) -> Result<Value> {
    use serde_yaml_ng::Value as Yaml;
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(b) => Value::Bool(b),
        Yaml::Number(n) => n.as_f64().and_then(Number::from_f64).map_or(Value::Null, Value::Number),
        Yaml::String(s) => Value::String(s),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(convert).collect::<Result<_>>()?),
        Yaml::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = match key {
                    Yaml::String(s) => s,
                    Yaml::Number(n) => n.to_string(),
                    Yaml::Bool(b) => b.to_string(),
                    key => bail!("{key:?} cannot be the name of a value"),
                };
                let value = convert(value).with_context(|| key.clone())?;
                map.insert(key, value);
            }
            Value::Object(map)
        }
        Yaml::Tagged(tagged) => convert(tagged.value)?,
    })
}
