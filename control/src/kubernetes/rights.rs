//! The rights at the Kubernetes API that this program needs: what its ClusterRole has to grant, and no more.

use super::resource::Resource;
use crate::model::Kind;

/// Verbs on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Empty for the core group.
    pub group: String,
    pub resource: String,
    /// If this is not empty, the right is for objects of these names only.
    pub names: Vec<String>,
    pub verbs: Vec<String>,
}

/// Everything that the program asks the API server for.
pub fn rights() -> Vec<Right> {
    let others = [
        // The identity service has tokens reviewed.
        right("authentication.k8s.io", "tokenreviews", &[], &["create"]),
        // The webhook tells the API server which certificates to trust.
        right(
            "admissionregistration.k8s.io",
            "validatingwebhookconfigurations",
            &["weft-policy-validator-webhook-config"],
            &["get", "patch"],
        ),
    ];
    watch_rights(&Kind::ALL).into_iter().chain(others).collect()
}

/// What a source of these kinds asks the API server for.
pub fn watch_rights(kinds: &[Kind]) -> Vec<Right> {
    let watched = |kind: &Kind| {
        let Resource { group, plural, .. } = Resource::of(*kind);
        right(group, plural, &[], &["list", "watch"])
    };
    kinds.iter().map(watched).collect()
}

fn right(group: &str, resource: &str, names: &[&str], verbs: &[&str]) -> Right {
    let owned = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
    Right { group: group.into(), resource: resource.into(), names: owned(names), verbs: owned(verbs) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    /// The chart needs no more than this to be YAML.
    fn rendered() -> String {
        let template = include_str!("../../../deploy/charts/weft-control-plane/templates/control-rbac.yaml");
        let lines = template.lines().filter(|line| !line.trim_start().starts_with("{{-"));
        lines.map(|line| line.replace("{{ .Release.Namespace }}", "weft") + "\n").collect()
    }

    fn roles() -> Vec<ClusterRole> {
        let documents = serde_yaml_ng::Deserializer::from_str(&rendered())
            .map(|document| Value::deserialize(document).unwrap())
            .collect::<Vec<_>>();
        let is_role = |value: &Value| value["kind"] == "ClusterRole" || value["kind"] == "Role";
        documents.into_iter().filter(is_role).map(|role| serde_json::from_value(role).unwrap()).collect()
    }

    /// One entry for each verb on each resource.
    fn single(group: &str, resource: &str, names: &[String], verbs: &[String]) -> BTreeSet<String> {
        verbs.iter().map(|verb| format!("{verb} {resource}.{group} {}", names.join(","))).collect()
    }

    fn granted(rule: &PolicyRule) -> BTreeSet<String> {
        assert_eq!(rule.non_resource_urls, None);
        let names = rule.resource_names.clone().unwrap_or_default();
        let mut entries = BTreeSet::new();
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                entries.extend(single(group, resource, &names, &rule.verbs));
            }
        }
        entries
    }

    #[test]
    fn the_chart_grants_exactly_the_rights_that_the_code_uses() {
        let used: BTreeSet<String> = rights()
            .iter()
            .flat_map(|right| single(&right.group, &right.resource, &right.names, &right.verbs))
            .collect();
        let granted: BTreeSet<String> =
            roles().iter().flat_map(|role| role.rules.iter().flatten().flat_map(granted)).collect();
        let missing: Vec<_> = used.difference(&granted).collect();
        let idle: Vec<_> = granted.difference(&used).collect();
        assert!(missing.is_empty(), "the chart does not grant {missing:?}");
        assert!(idle.is_empty(), "no code uses {idle:?}");
    }

    #[test]
    fn no_rule_has_a_wildcard_or_reads_secrets() {
        let all: Vec<_> =
            roles().iter().flat_map(|role| role.rules.iter().flatten().flat_map(granted)).collect();
        assert!(!all.is_empty());
        for entry in all {
            assert!(!entry.contains('*') && !entry.contains("secrets"), "{entry}");
        }
    }
}
