//! Finds a pod's owner for the labels of its metrics.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const HASH_LABEL: &str = "pod-template-hash";
/// Set by Linkerd's injector, `linkerd.io/proxy-deployment=web`.
const OWNER_LABEL: &str = "linkerd.io/proxy-";
const KINDS: [&str; 7] =
    ["deployment", "replicaset", "replicationcontroller", "daemonset", "statefulset", "job", "cronjob"];

/// The labels of the pod's owner, as Linkerd names them: `deployment=web`, `pod_template_hash=…`.
pub(super) fn metric_labels(metadata: &ObjectMeta) -> BTreeMap<String, String> {
    let labels = metadata.labels.as_ref();
    let label = |name: &str| labels.and_then(|labels| labels.get(name));
    let mut found = BTreeMap::new();
    if let Some(hash) = label(HASH_LABEL) {
        found.insert("pod_template_hash".to_owned(), hash.clone());
    }
    let declared =
        KINDS.iter().find_map(|kind| Some((*kind, label(&format!("{OWNER_LABEL}{kind}"))?.clone())));
    let owner = declared.or_else(|| {
        let owners = metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().max_by_key(|owner| owner.controller == Some(true))?;
        let kind = KINDS.into_iter().find(|kind| owner.kind.eq_ignore_ascii_case(kind))?;
        // A Deployment owns its pods through a ReplicaSet, whose name is the Deployment's and the template's hash.
        let deployment = match (kind, label(HASH_LABEL)) {
            ("replicaset", Some(hash)) => owner.name.strip_suffix(&format!("-{hash}")),
            _ => None,
        };
        Some(match deployment {
            Some(deployment) => ("deployment", deployment.to_owned()),
            None => (kind, owner.name.clone()),
        })
    });
    found.extend(owner.map(|(kind, name)| (kind.to_owned(), name)));
    found
}
