//! Workloads, pods, services, namespaces and nodes at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::Pod as PodObject, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp,
};
use weft_api::viz::{PodCount, ResourceRef, ResourceType, ServicePort, TapState};
use weft_control::{
    index::{self, Index},
    model::{Kind, Name, Object},
};

const OWNERS: [(Kind, ResourceType); 6] = [
    (Kind::CronJob, ResourceType::CronJob),
    (Kind::DaemonSet, ResourceType::DaemonSet),
    (Kind::Deployment, ResourceType::Deployment),
    (Kind::Job, ResourceType::Job),
    (Kind::ReplicaSet, ResourceType::ReplicaSet),
    (Kind::StatefulSet, ResourceType::StatefulSet),
];

#[derive(Debug, Default)]
pub(crate) struct ClusterView {
    pub(crate) namespaces: BTreeSet<String>,
    pub(crate) nodes: BTreeSet<String>,
    /// By namespace and name.
    pub(crate) pods: BTreeMap<(String, String), Arc<PodView>>,
    /// Owners of pods, also those without pods, and pods without an owner.
    pub(crate) workloads: BTreeMap<ResourceRef, Vec<Arc<PodView>>>,
    pub(crate) services: BTreeMap<(String, String), ServiceView>,
    /// There are pods without an owner.
    pub(crate) has_bare_pods: bool,
    /// Of namespaces, and of workloads that are objects of their own.
    labels: BTreeMap<ResourceRef, BTreeMap<String, String>>,
}

/// A pod that has not ended.
#[derive(Debug)]
pub(crate) struct PodView {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) owner: Option<ResourceRef>,
    pub(crate) node: Option<String>,
    pub(crate) phase: String,
    pub(crate) ready: bool,
    pub(crate) started_at: Option<f64>,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) service_account: String,
    /// Its node's proxy is to serve it.
    pub(crate) meshed: bool,
    /// Why it cannot be meshed, although it asks for it.
    pub(crate) obstacle: Option<String>,
    pub(crate) tap: TapState,
}

#[derive(Debug)]
pub(crate) struct ServiceView {
    pub(crate) cluster_ip: Option<String>,
    pub(crate) ports: Vec<ServicePort>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The pods behind it, in its own namespace.
    pub(crate) pods: Vec<Arc<PodView>>,
    /// The ports of its pods that it leads to.
    pub(crate) pod_ports: BTreeSet<u16>,
}

impl ClusterView {
    pub(super) fn of(index: &Index) -> Self {
        let cluster = index.snapshot();
        let mut view = Self::default();
        for object in index.objects(Kind::Namespace) {
            let metadata = object.metadata();
            let Some(name) = &metadata.name else { continue };
            view.namespaces.insert(name.clone());
            view.labels.insert(ResourceRef::namespace(name), metadata.labels.clone().unwrap_or_default());
        }
        for (kind, typ) in OWNERS {
            for object in index.objects(kind) {
                let metadata = object.metadata();
                // A ReplicaSet of a Deployment and a Job of a CronJob are no workloads of their own.
                if !metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true)) {
                    let resource = resource_of(metadata, typ);
                    view.namespaces.insert(resource.namespace.clone());
                    // The index leaves them out; then the pods' common ones stand for them.
                    if let Some(labels) = metadata.labels.clone().filter(|labels| !labels.is_empty()) {
                        view.labels.insert(resource.clone(), labels);
                    }
                    view.workloads.insert(resource, Vec::new());
                }
            }
        }
        view.nodes =
            index.objects(Kind::Node).iter().filter_map(|node| node.metadata().name.clone()).collect();
        for object in index.objects(Kind::Pod) {
            let Object::Pod(object) = &*object else { continue };
            let metadata = &object.metadata;
            let name = Name {
                namespace: metadata.namespace.clone().unwrap_or_else(|| "default".into()),
                name: metadata.name.clone().unwrap_or_default(),
            };
            if let Some(pod) = cluster.pod(&name) {
                view.add(pod_view(pod, object));
            }
        }
        for object in index.objects(Kind::Service) {
            let Object::Service(object) = &*object else { continue };
            let namespace = object.metadata.namespace.clone().unwrap_or_else(|| "default".into());
            let name = object.metadata.name.clone().unwrap_or_default();
            let key = Name { namespace: namespace.clone(), name: name.clone() };
            let service = view.service(object, cluster.service(&key).map(|service| &**service));
            view.namespaces.insert(namespace.clone());
            view.services.insert((namespace, name), service);
        }
        view
    }

    /// The pods of a resource.
    pub(crate) fn pods_of(&self, resource: &ResourceRef) -> Vec<Arc<PodView>> {
        let (namespace, name) = (&resource.namespace, &resource.name);
        match resource.kind {
            ResourceType::Namespace => self.in_namespace(namespace).cloned().collect(),
            ResourceType::Pod => {
                self.pods.get(&(namespace.clone(), name.clone())).into_iter().cloned().collect()
            }
            ResourceType::Service => {
                let service = self.services.get(&(namespace.clone(), name.clone()));
                service.map(|service| service.pods.clone()).unwrap_or_default()
            }
            _ => self.workloads.get(resource).cloned().unwrap_or_default(),
        }
    }

    pub(crate) fn in_namespace<'a>(
        &'a self,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Arc<PodView>> + use<'a> {
        let start = (namespace.to_owned(), String::new());
        let namespace = namespace.to_owned();
        self.pods.range(start..).take_while(move |((of, _), _)| *of == namespace).map(|(_, pod)| pod)
    }

    /// The labels of a resource. A workload of which only pods are known has those that all of them have.
    pub(crate) fn labels_of(&self, resource: &ResourceRef) -> BTreeMap<String, String> {
        let key = || (resource.namespace.clone(), resource.name.clone());
        match resource.kind {
            ResourceType::Pod => self.pods.get(&key()).map(|pod| pod.labels.clone()).unwrap_or_default(),
            ResourceType::Service => {
                self.services.get(&key()).map(|service| service.labels.clone()).unwrap_or_default()
            }
            _ => match self.labels.get(resource) {
                Some(labels) => labels.clone(),
                None => common_labels(self.workloads.get(resource).map(Vec::as_slice).unwrap_or_default()),
            },
        }
    }

    pub(crate) fn exists(&self, resource: &ResourceRef) -> bool {
        let key = || (resource.namespace.clone(), resource.name.clone());
        match resource.kind {
            ResourceType::Namespace => self.namespaces.contains(&resource.name),
            ResourceType::Pod => self.pods.contains_key(&key()),
            ResourceType::Service => self.services.contains_key(&key()),
            _ => self.workloads.contains_key(resource),
        }
    }

    /// The workload that a pod belongs to: its owner, or itself.
    pub(crate) fn workload_of(&self, pod: &PodView) -> ResourceRef {
        let bare = || ResourceRef::new(&pod.namespace, ResourceType::Pod, &pod.name);
        pod.owner.clone().unwrap_or_else(bare)
    }

    pub(crate) fn count(&self, resource: &ResourceRef) -> PodCount {
        count(&self.pods_of(resource))
    }

    fn add(&mut self, pod: PodView) {
        let pod = Arc::new(pod);
        self.namespaces.insert(pod.namespace.clone());
        self.nodes.extend(pod.node.clone());
        self.has_bare_pods |= pod.owner.is_none();
        let workload = self.workload_of(&pod);
        self.workloads.entry(workload).or_default().push(pod.clone());
        self.pods.insert((pod.namespace.clone(), pod.name.clone()), pod);
    }

    fn service<'a>(
        &self,
        object: &k8s_openapi::api::core::v1::Service,
        indexed: Option<&'a index::Service>,
    ) -> ServiceView {
        let spec = object.spec.as_ref();
        let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
            Some(ServicePort {
                name: port.name.clone().filter(|name| !name.is_empty()),
                port: u16::try_from(port.port).ok()?,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            })
        };
        let endpoints = indexed.into_iter().flat_map(|service| service.ports()).flat_map(|(_, all)| all);
        let of_pods =
            |endpoint: &'a index::Endpoint| Some((&endpoint.pod.as_ref()?.name, endpoint.addr.port()));
        let (names, pod_ports): (BTreeSet<_>, BTreeSet<_>) = endpoints.filter_map(of_pods).unzip();
        let pod = |name: &Name| self.pods.get(&(name.namespace.clone(), name.name.clone())).cloned();
        ServiceView {
            labels: object.metadata.labels.clone().unwrap_or_default(),
            cluster_ip: spec.and_then(|spec| spec.cluster_ip.clone()),
            ports: spec.into_iter().flat_map(|spec| spec.ports.iter().flatten()).filter_map(port).collect(),
            pods: names.into_iter().filter_map(pod).collect(),
            pod_ports,
        }
    }
}

impl PodView {
    pub(crate) fn is_running(&self) -> bool {
        self.phase == "Running"
    }
}

/// Labels that all pods have in common.
pub(crate) fn common_labels(pods: &[Arc<PodView>]) -> BTreeMap<String, String> {
    let Some((first, others)) = pods.split_first() else { return BTreeMap::new() };
    let is_common =
        |(name, value): &(&String, &String)| others.iter().all(|pod| pod.labels.get(*name) == Some(value));
    first.labels.iter().filter(is_common).map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(crate) fn count(pods: &[Arc<PodView>]) -> PodCount {
    let number = |wanted: &dyn Fn(&PodView) -> bool| {
        u32::try_from(pods.iter().filter(|pod| wanted(pod)).count()).unwrap_or(u32::MAX)
    };
    PodCount {
        meshed: number(&|pod| pod.meshed && pod.is_running()),
        running: number(&PodView::is_running),
        failed: number(&|pod| !pod.is_running()),
    }
}

fn pod_view(pod: &index::Pod, object: &PodObject) -> PodView {
    let (namespace, name) = (pod.name.namespace.clone(), pod.name.name.clone());
    let owner = ResourceType::WORKLOADS
        .into_iter()
        .find_map(|kind| Some(ResourceRef::new(&namespace, kind, pod.metric_labels.get(kind.as_str())?)));
    let status = object.status.as_ref();
    let started = status.and_then(|status| status.start_time.as_ref());
    let started = started.or(object.metadata.creation_timestamp.as_ref());
    let meshed = pod.is_meshed();
    let default_phase = || if pod.ips.is_empty() { "Pending" } else { "Running" }.to_owned();
    PodView {
        owner,
        node: pod.node.clone(),
        phase: status.and_then(|status| status.phase.clone()).unwrap_or_else(default_phase),
        ready: pod.ready,
        started_at: started.map(|time| seconds(&time.0)),
        ips: pod.ips.clone(),
        labels: pod.labels.clone(),
        service_account: pod.service_account.clone(),
        meshed,
        obstacle: pod.obstacle().filter(is_refusal).filter(|_| pod.inject).map(|found| found.to_string()),
        tap: match (meshed, pod.config.tap_disabled) {
            (false, _) => TapState::NotMeshed,
            (true, true) => TapState::Disabled,
            (true, false) => TapState::Allowed,
        },
        namespace,
        name,
    }
}

/// A pod with a Linkerd sidecar is meshed by Linkerd.
fn is_refusal(obstacle: &index::Obstacle) -> bool {
    !matches!(obstacle, index::Obstacle::LinkerdSidecar)
}

fn resource_of(metadata: &ObjectMeta, kind: ResourceType) -> ResourceRef {
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    ResourceRef::new(namespace, kind, metadata.name.clone().unwrap_or_default())
}

/// Unix seconds.
pub(super) fn seconds(time: &Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
