//! Finds the objects of an installation in the cluster, by their label.

use anyhow::Result;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::{Value, json};

use crate::kubernetes::{NAMESPACE_LABEL, explain, not_found};

/// Group, version, kind and plural.
pub(crate) type Kind = (&'static str, &'static str, &'static str, &'static str);

/// The kinds of objects that an installation has, but for custom resource definitions.
pub(crate) const KINDS: &[Kind] = &[
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    ),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses"),
    ("apps", "v1", "DaemonSet", "daemonsets"),
    ("apps", "v1", "Deployment", "deployments"),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("", "v1", "Service", "services"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "Namespace", "namespaces"),
];

pub(super) const CRDS: Kind =
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");

/// The objects of the installation in `namespace`, as far as `kubectl delete` needs them.
pub(super) async fn installed(client: &Client, namespace: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for kind in KINDS {
        objects.extend(labelled(client, kind, &format!("{NAMESPACE_LABEL}={namespace}")).await?);
    }
    Ok(objects)
}

/// The objects of a kind that a selector chooses.
pub(crate) async fn labelled(
    client: &Client,
    (group, version, kind, plural): &Kind,
    selector: &str,
) -> Result<Vec<Value>> {
    let api_version = if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
    let resource = ApiResource {
        group: (*group).to_owned(),
        version: (*version).to_owned(),
        api_version: api_version.clone(),
        kind: (*kind).to_owned(),
        plural: (*plural).to_owned(),
    };
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let found = match api.list_metadata(&ListParams::default().labels(selector)).await {
        Ok(found) => found,
        Err(error) if not_found(&error) => return Ok(Vec::new()),
        Err(error) => return Err(explain(error, &format!("list the {plural} of the installation"))),
    };
    // Controllers make the others (replica sets, pods, endpoint slices).
    let own = found.items.into_iter().filter(|object| object.metadata.owner_references.is_none());
    Ok(own
        .map(|object| {
            let mut metadata = json!({ "name": object.metadata.name });
            if let Some(namespace) = object.metadata.namespace {
                metadata["namespace"] = json!(namespace);
            }
            json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata })
        })
        .collect())
}
