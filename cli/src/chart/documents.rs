//! Splits rendered templates into objects, in the order in which they can be applied.

use anyhow::{Context, Result};
use serde_json::Value;

/// An object of a chart, as rendered.
pub(crate) struct Document {
    /// The template that it comes from.
    pub(crate) source: String,
    /// Its YAML, with comments.
    pub(crate) text: String,
    pub(crate) object: Value,
}

impl Document {
    pub(crate) fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }
}

/// What other objects need comes first. Kinds that are not here come last.
const ORDER: &[&str] = &[
    "Namespace",
    "PriorityClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "PersistentVolumeClaim",
    "Service",
    "PodDisruptionBudget",
    "DaemonSet",
    "Deployment",
];

pub(super) fn split(chart: &str, rendered: Vec<(&str, String)>) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for (path, text) in rendered {
        for part in parts(&text) {
            let object: Value = serde_yaml_ng::from_str(&part)
                .with_context(|| format!("{chart}/{path} gives YAML that cannot be read:\n{part}"))?;
            if !object.is_null() {
                documents.push(Document { source: format!("{chart}/{path}"), text: part, object });
            }
        }
    }
    let rank =
        |document: &Document| ORDER.iter().position(|kind| *kind == document.kind()).unwrap_or(ORDER.len());
    documents.sort_by_key(rank);
    Ok(documents)
}

fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
        .iter()
        .map(|part| part.trim_matches('\n'))
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}
