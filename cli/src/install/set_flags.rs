//! The options that set any value of a chart, as Helm has them.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use crate::chart::{SetKind, parse_values, set};

/// -f, --set and their like.
#[derive(Debug, Default, Args)]
pub(crate) struct SetFlags {
    /// A file with values, as for Helm; may be given several times
    #[arg(short = 'f', long, value_name = "FILE", help_heading = "Values")]
    values: Vec<PathBuf>,
    /// Set a value: NAME=VALUE, several separated by commas
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Values")]
    set: Vec<String>,
    /// Set a value that is a string, whatever it looks like
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Values")]
    set_string: Vec<String>,
    /// Set a value to the content of a file
    #[arg(long, value_name = "NAME=FILE", help_heading = "Values")]
    set_file: Vec<String>,
}

impl SetFlags {
    /// `values` with those of the files laid over them.
    pub(crate) fn files(&self, mut values: Value) -> Result<Value> {
        for path in &self.values {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let file = parse_values(&text).with_context(|| path.display().to_string())?;
            values = lay_over(values, &file);
        }
        Ok(values)
    }

    /// `values` with the assignments.
    pub(crate) fn assign(&self, mut values: Value) -> Result<Value> {
        for (texts, flag, kind) in [
            (&self.set, "--set", SetKind::Typed),
            (&self.set_string, "--set-string", SetKind::String),
            (&self.set_file, "--set-file", SetKind::File),
        ] {
            for text in texts {
                set(&mut values, text, kind).with_context(|| format!("{flag} {text}"))?;
            }
        }
        Ok(values)
    }
}

/// Lays one set of overrides over another. Unlike `coalesce`, it keeps `null`, which removes a default value later.
pub(crate) fn lay_over(base: Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (key, value) in over {
                let merged = match base.remove(key) {
                    Some(own) => lay_over(own, value),
                    None => value.clone(),
                };
                base.insert(key.clone(), merged);
            }
            Value::Object(base)
        }
        (_, over) => over.clone(),
    }
}
