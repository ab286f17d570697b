//! Prints manifests.

use anyhow::Result;
use serde_json::Value;

use super::flags::Format;
use crate::{
    chart::{Document, to_yaml},
    terminal::print,
};

/// Prints rendered objects, as YAML with the templates' comments, or as a sequence of JSON objects.
pub(crate) fn documents(documents: &[Document], format: Format) -> Result<()> {
    let mut text = String::new();
    for document in documents {
        match format {
            Format::Yaml => {
                text.push_str(&format!("---\n# Source: {}\n{}\n", document.source, document.text));
            }
            Format::Json => text.push_str(&json(&document.object)?),
        }
    }
    print(&text)
}

/// Prints other objects.
pub(crate) fn objects(objects: &[Value], format: Format) -> Result<()> {
    let mut text = String::new();
    for object in objects {
        match format {
            Format::Yaml => text.push_str(&format!("---\n{}\n", to_yaml(object))),
            Format::Json => text.push_str(&json(object)?),
        }
    }
    print(&text)
}

fn json(object: &Value) -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(object)?))
}
