//! The objects of the cluster, as the API needs them.

mod components;
mod definition;
mod redact;
mod secrets;
mod view;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Node;
use kube::{Api, api::ListParams};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weft_api::viz::{ComponentItem, ErrorCode, Failure, ObjectSource, ResourceRef};
use weft_control::{FollowedSource, Follower, Mesh, SourceError, index, model::Kind};

pub(crate) use self::{
    definition::READ,
    view::{ClusterView, PodView, ServiceView, common_labels, count},
};
use crate::prometheus::Cache;

/// How long a view is used.
const VIEW_AGE: Duration = Duration::from_secs(1);
const API_TIMEOUT: Duration = Duration::from_secs(8);
/// The kinds of objects that are read.
pub(crate) const KINDS: [Kind; 11] = [
    Kind::Namespace,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Pod,
    Kind::Node,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::Job,
    Kind::CronJob,
];

/// The cluster, read from the Kubernetes API or from manifests.
#[derive(Debug)]
pub(crate) struct Cluster {
    follower: Follower,
    objects: Objects,
    pub(crate) mesh: Mesh,
    view: Mutex<Option<(Instant, Arc<ClusterView>)>>,
    nodes: Cache<HashMap<String, bool>>,
    components: Cache<Vec<ComponentItem>>,
}

/// Where whole objects are, of which the index keeps only parts.
enum Objects {
    Kubernetes(kube::Client),
    Manifests(Vec<PathBuf>),
}

impl Cluster {
    pub(crate) fn kubernetes(
        client: kube::Client,
        mesh: Mesh,
        stop: CancellationToken,
    ) -> Result<Self, SourceError> {
        let follower = Follower::start(FollowedSource::Kubernetes(client.clone()), &KINDS, stop)?;
        Ok(Self::new(follower, Objects::Kubernetes(client), mesh))
    }

    pub(crate) fn manifests(
        folders: Vec<PathBuf>,
        mesh: Mesh,
        stop: CancellationToken,
    ) -> Result<Self, SourceError> {
        let follower = Follower::start(FollowedSource::Manifests(folders.clone()), &KINDS, stop)?;
        Ok(Self::new(follower, Objects::Manifests(folders), mesh))
    }

    fn new(follower: Follower, objects: Objects, mesh: Mesh) -> Self {
        let (view, nodes, components) = (Mutex::new(None), Cache::default(), Cache::default());
        Self { follower, objects, mesh, view, nodes, components }
    }

    pub(crate) fn source(&self) -> ObjectSource {
        match self.objects {
            Objects::Kubernetes(_) => ObjectSource::Kubernetes,
            Objects::Manifests(_) => ObjectSource::Manifests,
        }
    }

    /// Fails until all objects have been read.
    pub(crate) fn synced(&self) -> Result<(), Failure> {
        let Some(missing) = self.follower.missing() else { return Ok(()) };
        let message = format!("The objects of the cluster have not been read yet; missing: {missing}.");
        let hint = match self.objects {
            Objects::Kubernetes(_) => {
                "Wait a moment. If it lasts, look at the log of weft-viz: its service account may lack a right."
            }
            Objects::Manifests(_) => "Wait a moment. If it lasts, look at the log of weft-viz.",
        };
        Err(Failure::new(ErrorCode::ClusterUnavailable, message).hint(hint))
    }

    /// The cluster now, at most a second old.
    pub(crate) fn view(&self) -> Arc<ClusterView> {
        let mut current = self.view.lock();
        if let Some((made, view)) = &*current
            && made.elapsed() < VIEW_AGE
        {
            return view.clone();
        }
        // Objects may arrive at any moment until all have been read.
        let is_complete = self.follower.missing().is_none();
        let view = Arc::new(ClusterView::of(self.follower.index()));
        if is_complete {
            *current = Some((Instant::now(), view.clone()));
        }
        view
    }

    /// Tells of every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<index::Cluster>> {
        self.follower.index().subscribe()
    }

    /// The identities of a resource's service accounts.
    pub(crate) fn identities(&self, view: &ClusterView, resource: &ResourceRef) -> Vec<String> {
        let mut identities: Vec<_> = view
            .pods_of(resource)
            .iter()
            .filter(|pod| pod.meshed)
            .map(|pod| self.mesh.identity(&pod.service_account, &pod.namespace))
            .collect();
        identities.sort();
        identities.dedup();
        identities
    }

    /// Which nodes are ready. A node of manifests always is.
    pub(crate) async fn ready_nodes(&self) -> Result<Arc<HashMap<String, bool>>, Failure> {
        let Objects::Kubernetes(client) = &self.objects else { return Ok(Arc::default()) };
        let ask = async {
            let api: Api<Node> = Api::all(client.clone());
            let nodes = bounded("nodes", api.list(&ListParams::default())).await?;
            let is_ready = |node: &Node| {
                let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
                conditions.unwrap_or_default().iter().any(|c| c.type_ == "Ready" && c.status == "True")
            };
            Ok(nodes.items.iter().filter_map(|n| Some((n.metadata.name.clone()?, is_ready(n)))).collect())
        };
        self.nodes.get("nodes".into(), Box::pin(ask)).await
    }

    /// The components in these namespaces. `None` without Kubernetes.
    pub(crate) async fn components(
        &self,
        namespaces: &[&str],
    ) -> Option<Result<Arc<Vec<ComponentItem>>, Failure>> {
        let Objects::Kubernetes(client) = &self.objects else { return None };
        let ask = components::of_namespaces(client, namespaces);
        Some(self.components.get(namespaces.join(","), Box::pin(ask)).await)
    }

    /// The YAML of a resource, without what must not be shown, and the manifest that it is in.
    pub(crate) async fn definition(
        &self,
        resource: &ResourceRef,
    ) -> Result<(String, Option<PathBuf>), Failure> {
        let (object, file) = match &self.objects {
            Objects::Kubernetes(client) => (definition::of_kubernetes(client, resource).await?, None),
            Objects::Manifests(folders) => {
                let (folders, resource) = (folders.clone(), resource.clone());
                let find = tokio::task::spawn_blocking(move || definition::of_manifests(&folders, &resource));
                let found =
                    find.await.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
                found.map(|(object, file)| (object, Some(file)))?
            }
        };
        let yaml = serde_yaml_ng::to_string(&redact::redacted(object))
            .map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
        Ok((yaml, file))
    }

    pub(crate) fn client(&self) -> Option<&kube::Client> {
        match &self.objects {
            Objects::Kubernetes(client) => Some(client),
            Objects::Manifests(_) => None,
        }
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kubernetes(_) => f.write_str("Kubernetes"),
            Self::Manifests(folders) => f.debug_tuple("Manifests").field(folders).finish(),
        }
    }
}

/// The answer of the API server, within a time.
async fn bounded<T>(what: &str, ask: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    let unavailable = |message: String| {
        Failure::new(ErrorCode::ClusterUnavailable, message)
            .hint("See whether the API server answers kubectl, and look at the log of weft-viz.")
    };
    match tokio::time::timeout(API_TIMEOUT, ask).await {
        Err(_) => Err(unavailable(format!("The Kubernetes API took more than 8 s to answer for {what}."))),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            Err(Failure::new(ErrorCode::NotFound, format!("{what} does not exist."))
                .hint("It may have been deleted, or its name is misspelt."))
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(Failure::new(
            ErrorCode::Forbidden,
            format!("The service account of weft-viz may not read {what}."),
        )
        .hint("Install the viz extension again: its ClusterRole is not what this version needs.")),
        Ok(Err(error)) => {
            tracing::warn!(%error, what, "the Kubernetes API does not answer");
            Err(unavailable(format!("The Kubernetes API does not answer for {what}.")))
        }
    }
}
