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
    let watched = Kind::ALL.map(|kind| {
        let Resource { group, plural, .. } = Resource::of(kind);
        right(group, plural, &[], &["list", "watch"])
    });
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
    watched.into_iter().chain(others).collect()
}

fn right(group: &str, resource: &str, names: &[&str], verbs: &[&str]) -> Right {
    let owned = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
    Right { group: group.into(), resource: resource.into(), names: owned(names), verbs: owned(verbs) }
}
