//! Finds the owners of pods: their annotations count for the pods, and their names become labels of the pods' metrics.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::store::Store;
use crate::{
    model::{Key, Kind},
    settings::Annotations,
};

const HASH_LABEL: &str = "pod-template-hash";
/// Set by Linkerd's injector, `linkerd.io/proxy-deployment=web`.
const OWNER_LABEL: &str = "linkerd.io/proxy-";
const KINDS: [&str; 7] =
    ["deployment", "replicaset", "replicationcontroller", "daemonset", "statefulset", "job", "cronjob"];
/// A pod, its ReplicaSet or Job, its Deployment or CronJob, and an owner of another kind are enough.
const MAX_DEPTH: usize = 4;

/// The owners of a pod that are known, the nearest one first.
#[derive(Debug, Default)]
pub(super) struct Owners<'a> {
    chain: Vec<(Kind, &'a ObjectMeta)>,
}

impl<'a> Owners<'a> {
    pub(super) fn of(metadata: &ObjectMeta, store: &'a Store) -> Self {
        let mut chain: Vec<(Kind, &'a ObjectMeta)> = Vec::new();
        while chain.len() < MAX_DEPTH {
            let last = chain.last().map_or(metadata, |(_, owner)| *owner);
            let Some(found) = controller(last).and_then(|(key, uid)| {
                let owner = store.get(&key)?.metadata();
                // An object that was created again under the same name is another one.
                owner
                    .uid
                    .as_deref()
                    .is_none_or(|own| uid.is_empty() || own == uid)
                    .then_some((key.kind, owner))
            }) else {
                break;
            };
            chain.push(found);
        }
        Self { chain }
    }

    /// The annotations of a pod, completed by those of its owners.
    pub(super) fn complete(&self, own: Annotations) -> Annotations {
        let counts = |(kind, owner): &&(Kind, &ObjectMeta)| {
            // A Deployment copies its annotations to its ReplicaSets, but does not remove them there when they are
            // removed from itself.
            *kind != Kind::ReplicaSet || controller(owner).is_none()
        };
        let mut all = own;
        for (_, owner) in self.chain.iter().filter(counts) {
            all = all.or(&Annotations::parse(owner.annotations.as_ref()).0);
        }
        all
    }

    /// The labels of a pod's metrics that its owner determines, as Linkerd names them: `deployment=web`,
    /// `pod_template_hash=…`.
    pub(super) fn metric_labels(&self, pod: &ObjectMeta) -> BTreeMap<String, String> {
        let labels = pod.labels.as_ref();
        let label = |name: &str| labels.and_then(|labels| labels.get(name));
        let mut found = BTreeMap::new();
        if let Some(hash) = label(HASH_LABEL) {
            found.insert("pod_template_hash".to_owned(), hash.clone());
        }
        let declared =
            KINDS.iter().find_map(|kind| Some((*kind, label(&format!("{OWNER_LABEL}{kind}"))?.clone())));
        // The last owner counts, whether it is known itself or only named by the one before.
        let last = self.chain.last().map_or(pod, |(_, owner)| *owner);
        let named = || {
            let owner = controller_reference(last)?;
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
        };
        let known = || {
            let (kind, owner) = self.chain.last()?;
            let kind = KINDS.into_iter().find(|name| kind.to_string().eq_ignore_ascii_case(name))?;
            Some((kind, owner.name.clone()?))
        };
        let owner = declared.or_else(named).or_else(known);
        found.extend(owner.map(|(kind, name)| (kind.to_owned(), name)));
        found
    }
}

/// The owner of an object that controls it, if weft reads its kind, and the owner's uid.
pub(super) fn controller(metadata: &ObjectMeta) -> Option<(Key, &str)> {
    let owner = controller_reference(metadata)?;
    let kind = Kind::of(&owner.api_version, &owner.kind).filter(|kind| kind.owns_pods())?;
    Some((Key::new(kind, metadata.namespace.as_deref(), &owner.name), &owner.uid))
}

fn controller_reference(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().max_by_key(|owner| owner.controller == Some(true))
}
