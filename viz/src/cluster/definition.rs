//! Reads one whole object.

use std::path::{Path, PathBuf};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use serde::Deserialize;
use serde_json::Value;
use weft_api::viz::{ErrorCode, Failure, ResourceRef, ResourceType};

/// The objects that can be read, by group and resource.
pub(crate) const READ: [(&str, &str); 10] = [
    ("", "namespaces"),
    ("", "pods"),
    ("", "services"),
    ("", "replicationcontrollers"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
];
/// A larger manifest is skipped.
const MAX_FILE: u64 = 1024 * 1024;

pub(super) async fn of_kubernetes(client: &Client, resource: &ResourceRef) -> Result<Value, Failure> {
    let (group, kind) = group_and_kind(resource.kind);
    let api_resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), resource.kind.plural());
    let api: Api<DynamicObject> = match resource.kind {
        ResourceType::Namespace => Api::all_with(client.clone(), &api_resource),
        _ => Api::namespaced_with(client.clone(), &resource.namespace, &api_resource),
    };
    let what = format!("{} {}/{}", resource.kind, resource.namespace, resource.name);
    let object = super::bounded(&what, api.get(&resource.name)).await?;
    serde_json::to_value(object).map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))
}

/// The document of the first folder that has it, and its file.
pub(super) fn of_manifests(folders: &[PathBuf], resource: &ResourceRef) -> Result<(Value, PathBuf), Failure> {
    // The first folder has what users wrote; later ones only complete it.
    let mut found = folders.iter().filter_map(|folder| in_folder(folder, resource));
    found.next().ok_or_else(|| {
        let ResourceRef { namespace, kind, name } = resource;
        Failure::new(ErrorCode::NotFound, format!("{kind} {namespace}/{name} is in no manifest."))
            .hint("It may have been deleted, or only its pods are in the manifests.")
    })
}

fn in_folder(folder: &Path, resource: &ResourceRef) -> Option<(Value, PathBuf)> {
    let files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    files.filter(is_yaml).find_map(|path| Some((in_file(&path, resource)?, path)))
}

fn in_file(path: &Path, resource: &ResourceRef) -> Option<Value> {
    if std::fs::metadata(path).ok()?.len() > MAX_FILE {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    let (_, kind) = group_and_kind(resource.kind);
    serde_yaml_ng::Deserializer::from_str(&text).find_map(|document| {
        let object = Value::deserialize(document).ok()?;
        let metadata = &object["metadata"];
        let namespace = match resource.kind {
            ResourceType::Namespace => resource.name.as_str(),
            _ => metadata["namespace"].as_str().unwrap_or("default"),
        };
        let is_it =
            object["kind"] == kind && metadata["name"] == resource.name && namespace == resource.namespace;
        is_it.then_some(object)
    })
}

fn group_and_kind(kind: ResourceType) -> (&'static str, &'static str) {
    match kind {
        ResourceType::CronJob => ("batch", "CronJob"),
        ResourceType::DaemonSet => ("apps", "DaemonSet"),
        ResourceType::Deployment => ("apps", "Deployment"),
        ResourceType::Job => ("batch", "Job"),
        ResourceType::ReplicaSet => ("apps", "ReplicaSet"),
        ResourceType::ReplicationController => ("", "ReplicationController"),
        ResourceType::StatefulSet => ("apps", "StatefulSet"),
        ResourceType::Pod => ("", "Pod"),
        ResourceType::Service => ("", "Service"),
        ResourceType::Namespace => ("", "Namespace"),
    }
}
