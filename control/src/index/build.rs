//! Builds the cluster from its objects.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::{core::v1, discovery::v1::EndpointSlice};

use super::{
    cluster::Cluster,
    endpoints::{self, Pods},
    pod::{Pod, Served},
    servers::Servers,
    service::Service,
};
use crate::{
    model::{Key, Name, Object, Server},
    settings::Annotations,
};

/// The label that says which service a slice belongs to.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Parts that are equal to those of `before` are shared with it, so that comparing them is cheap.
pub(super) fn cluster<'a>(
    objects: impl Iterator<Item = (&'a Key, &'a Object)>,
    served: &Served,
    before: &Cluster,
) -> Cluster {
    let objects = Objects::sort(objects);
    let none = Annotations::default();
    let namespace = |name: &Name| objects.namespaces.get(name.namespace.as_str()).unwrap_or(&none);

    let servers = Servers::new(objects.servers.iter().copied());
    let mut pods = BTreeMap::new();
    for (name, pod) in &objects.pods {
        if let Some(pod) = Pod::build(name.clone(), pod, namespace(name), &servers, served) {
            pods.insert(name.clone(), share(pod, before.pod(name)));
        }
    }

    let slices = objects.slices_by_service();
    let candidates = Pods::new(pods.values());
    let mut services = BTreeMap::new();
    for (name, object) in &objects.services {
        if let Some(mut service) = Service::build(name.clone(), object, namespace(name)) {
            let slices = slices.get(name).map(Vec::as_slice).unwrap_or_default();
            endpoints::fill(&mut service, object, slices, &candidates);
            services.insert(name.clone(), share(service, before.service(name)));
        }
    }
    let zones = objects.zones(pods.values());
    Cluster::new(pods, services, zones)
}

/// The objects, sorted by kind.
#[derive(Default)]
struct Objects<'a> {
    namespaces: HashMap<&'a str, Annotations>,
    pods: Vec<(Name, &'a v1::Pod)>,
    services: Vec<(Name, &'a v1::Service)>,
    slices: Vec<(&'a Key, &'a EndpointSlice)>,
    servers: Vec<(&'a Key, &'a Server)>,
}

impl<'a> Objects<'a> {
    fn sort(objects: impl Iterator<Item = (&'a Key, &'a Object)>) -> Self {
        let mut sorted = Self::default();
        for (key, object) in objects {
            match object {
                Object::Namespace(namespace) => {
                    let (annotations, _) = Annotations::parse(namespace.metadata.annotations.as_ref());
                    sorted.namespaces.insert(&key.name, annotations);
                }
                Object::Pod(pod) => sorted.pods.push((key.into(), pod)),
                Object::Service(service) => sorted.services.push((key.into(), service)),
                Object::EndpointSlice(slice) => sorted.slices.push((key, slice)),
                Object::Server(server) => sorted.servers.push((key, server)),
                // A pod's identity comes from the name in its spec.
                _ => {}
            }
        }
        sorted
    }

    fn slices_by_service(&self) -> HashMap<Name, Vec<&'a EndpointSlice>> {
        let mut slices: HashMap<Name, Vec<&EndpointSlice>> = HashMap::new();
        for (key, slice) in &self.slices {
            let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
            if let Some(service) = service {
                let name = Name { namespace: key.namespace.clone(), name: service.clone() };
                slices.entry(name).or_default().push(slice);
            }
        }
        slices
    }

    /// The zones of nodes, as far as pods and slices name them.
    fn zones<'p>(&self, pods: impl Iterator<Item = &'p Arc<Pod>>) -> HashMap<String, String> {
        let of_pods = pods.filter_map(|pod| Some((pod.node.clone()?, pod.zone.clone()?)));
        let mut zones: HashMap<String, String> = of_pods.collect();
        for endpoint in self.slices.iter().flat_map(|(_, slice)| &slice.endpoints) {
            if let (Some(node), Some(zone)) = (&endpoint.node_name, &endpoint.zone) {
                zones.entry(node.clone()).or_insert_with(|| zone.clone());
            }
        }
        zones
    }
}

fn share<T: PartialEq>(fresh: T, before: Option<&Arc<T>>) -> Arc<T> {
    match before {
        Some(before) if **before == fresh => before.clone(),
        _ => Arc::new(fresh),
    }
}
