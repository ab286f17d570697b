//! Which pods belong to the mesh: the annotation of the pod, else of its owners, else of its namespace decides.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use super::cluster::Cluster;
use crate::kubernetes::{INJECT, explain};

/// The metadata of everything that owns pods, and of namespaces.
pub(super) struct Owners {
    namespaces: HashMap<String, ObjectMeta>,
    /// By uid.
    owners: HashMap<String, ObjectMeta>,
    /// The uids of the ReplicaSets that a Deployment owns. Their annotations are copies that the Deployment never
    /// removes, so they do not count.
    copies: HashSet<String>,
}

impl Owners {
    pub(super) async fn read(cluster: &Cluster) -> Result<Self> {
        let namespaces = cluster.namespaces().await?.iter();
        let namespaces = namespaces
            .map(|ns| (ns.metadata.name.clone().unwrap_or_default(), ns.metadata.clone()))
            .collect();
        let mut read = Self { namespaces, owners: HashMap::new(), copies: HashSet::new() };
        read.list::<Deployment>(cluster).await?;
        read.list::<ReplicaSet>(cluster).await?;
        let of_deployments = read.owners.iter().filter(|(_, meta)| controller(meta).is_some());
        read.copies = of_deployments.map(|(uid, _)| uid.clone()).collect();
        read.list::<StatefulSet>(cluster).await?;
        read.list::<DaemonSet>(cluster).await?;
        read.list::<Job>(cluster).await?;
        read.list::<CronJob>(cluster).await?;
        Ok(read)
    }

    async fn list<K>(&mut self, cluster: &Cluster) -> Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let found =
            Api::<K>::all(cluster.client().await?.clone()).list_metadata(&ListParams::default()).await;
        let found = found.map_err(|error| explain(error, &format!("list {}", K::plural(&()))))?;
        let with_uid = found
            .items
            .into_iter()
            .filter_map(|object| Some((object.metadata.uid.clone()?, object.metadata)));
        self.owners.extend(with_uid);
        Ok(())
    }

    /// The annotation of the pod, else of its nearest owner that has it, else of its namespace.
    pub(super) fn annotation<'a>(&'a self, pod: &'a Pod, key: &str) -> Option<&'a str> {
        let mut meta = &pod.metadata;
        // A pod of a Deployment has a ReplicaSet between; no real chain is longer than three.
        for _ in 0..4 {
            let is_copy = meta.uid.as_ref().is_some_and(|uid| self.copies.contains(uid));
            if let Some(value) = own(meta, key).filter(|_| !is_copy) {
                return Some(value);
            }
            match controller(meta).and_then(|owner| self.owners.get(&owner.uid)) {
                Some(owner) => meta = owner,
                None => break,
            }
        }
        own(self.namespaces.get(pod.metadata.namespace.as_deref()?)?, key)
    }

    /// The annotation of an object that has no owners, else of its namespace.
    pub(super) fn annotation_of<'a>(&'a self, meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
        own(meta, key).or_else(|| own(self.namespaces.get(meta.namespace.as_deref()?)?, key))
    }

    /// Whether the pod should be in the mesh.
    pub(super) fn meshes(&self, pod: &Pod) -> bool {
        matches!(self.annotation(pod, INJECT), Some("enabled" | "ingress"))
    }
}

fn own<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref().and_then(|all: &BTreeMap<_, _>| all.get(key)).map(String::as_str)
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(uid: &str, owner: Option<&str>, inject: Option<&str>) -> ObjectMeta {
        let owner = owner.map(|uid| OwnerReference {
            uid: uid.to_owned(),
            controller: Some(true),
            ..OwnerReference::default()
        });
        ObjectMeta {
            uid: Some(uid.to_owned()),
            namespace: Some("demo".to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            annotations: inject.map(|value| BTreeMap::from([(INJECT.to_owned(), value.to_owned())])),
            ..ObjectMeta::default()
        }
    }

    /// A pod of a ReplicaSet, with or without a Deployment.
    fn meshes(replica_set: ObjectMeta, deployment: Option<ObjectMeta>) -> bool {
        let objects = deployment.into_iter().chain([replica_set.clone()]);
        let owners = objects.map(|meta| (meta.uid.clone().unwrap_or_default(), meta)).collect();
        let copies = replica_set.owner_references.is_some().then_some("set".to_owned()).into_iter().collect();
        let pod = Pod { metadata: meta("pod", Some("set"), None), ..Pod::default() };
        Owners { namespaces: HashMap::new(), owners, copies }.meshes(&pod)
    }

    #[test]
    fn what_a_deployment_has_left_at_its_replica_set_does_not_count() {
        let set = || meta("set", Some("deployment"), Some("enabled"));
        assert!(!meshes(set(), Some(meta("deployment", None, None))), "uninjected");
        assert!(meshes(set(), Some(meta("deployment", None, Some("enabled")))));
        assert!(meshes(meta("set", None, Some("enabled")), None), "a ReplicaSet of its own");
    }
}
