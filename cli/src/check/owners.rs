//! Which pods belong to the mesh: the annotation of the pod, else of its owners, else of its namespace decides.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
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
}

impl Owners {
    pub(super) async fn read(cluster: &Cluster) -> Result<Self> {
        let namespaces = cluster.namespaces().await?.iter();
        let namespaces = namespaces
            .map(|ns| (ns.metadata.name.clone().unwrap_or_default(), ns.metadata.clone()))
            .collect();
        let mut read = Self { namespaces, owners: HashMap::new() };
        read.list::<Deployment>(cluster).await?;
        read.list::<ReplicaSet>(cluster).await?;
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
            if let Some(value) = own(meta, key) {
                return Some(value);
            }
            let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
            match owner.and_then(|owner| self.owners.get(&owner.uid)) {
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
