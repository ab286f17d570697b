//! Whether extensions are set up as one expects.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    check::{
        cluster::{Cluster, none},
        model::{Category, Check},
    },
    kubernetes::EXTENSION_LABEL,
};

pub(super) fn category() -> Category {
    Category {
        name: "weft-extension-checks",
        checks: vec![Check::warning(
            "namespace configuration for extensions",
            "weft-extension-namespaces",
            |c| Box::pin(namespaces(c)),
        )],
    }
}

/// No two namespaces say that they are those of the same extension.
async fn namespaces(cluster: &Cluster) -> Result<()> {
    let mut by_extension: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for namespace in cluster.namespaces().await? {
        let labels = namespace.metadata.labels.as_ref();
        if let Some(extension) = labels.and_then(|labels| labels.get(EXTENSION_LABEL)) {
            let name = namespace.metadata.name.as_deref().unwrap_or_default();
            by_extension.entry(extension).or_default().push(name);
        }
    }
    let problems: Vec<_> = by_extension
        .iter()
        .filter(|(_, namespaces)| namespaces.len() > 1)
        .map(|(extension, namespaces)| format!("{extension}: {}", namespaces.join(", ")))
        .collect();
    none(&problems, &format!("several namespaces have the same label {EXTENSION_LABEL}:"))
}
