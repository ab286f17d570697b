//! Who is at an address, behind a name, on a node?

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::{Deserialize, Serialize};

use super::{
    Served,
    endpoints::{self, Pods, SERVICE_LABEL},
    mesh::Mesh,
    pod::Pod,
    servers::Servers,
    service::Service,
};
use crate::{manifests::Object, settings::Annotations};

/// A name in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Name {
    pub namespace: String,
    pub name: String,
}

/// The cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    pods: BTreeMap<Name, Arc<Pod>>,
    services: BTreeMap<Name, Arc<Service>>,
    pods_by_ip: HashMap<IpAddr, Vec<Arc<Pod>>>,
    services_by_ip: HashMap<IpAddr, Arc<Service>>,
    pods_by_node: BTreeMap<String, Vec<Arc<Pod>>>,
    zones: HashMap<String, String>,
}

impl Cluster {
    /// The cluster that `objects` describe; what is as in `before` is shared with it.
    pub(super) fn build<'a>(
        objects: impl IntoIterator<Item = &'a Object>,
        served: &Served,
        before: &Self,
    ) -> Self {
        let objects: Vec<&Object> = objects.into_iter().collect();
        let namespaces: HashMap<&str, Annotations> = objects
            .iter()
            .filter_map(|object| match object {
                Object::Namespace(namespace) => {
                    let (annotations, _) = Annotations::parse(namespace.metadata.annotations.as_ref());
                    Some((namespace.metadata.name.as_deref()?, annotations))
                }
                _ => None,
            })
            .collect();
        let silent = Annotations::default();
        let namespace = |name: &Name| namespaces.get(name.namespace.as_str()).unwrap_or(&silent);

        let mut built = Self::default();
        let servers = servers(&objects);
        for object in &objects {
            if let Object::Pod(pod) = object {
                let name = Name::of(object);
                if let Some(mut pod) = Pod::build(name.clone(), pod, namespace(&name), &servers) {
                    pod.served = is_served(&pod, served);
                    built.pods.insert(name.clone(), share(pod, before.pods.get(&name)));
                }
            }
        }
        built.zones = zones(&objects, built.pods.values());
        let slices = slices(&objects);
        let pods = Pods::new(built.pods.values());
        for object in &objects {
            if let Object::Service(service) = object {
                let name = Name::of(object);
                if let Some(mut fresh) = Service::build(name.clone(), service, namespace(&name)) {
                    let slices = slices.get(&name).map(Vec::as_slice).unwrap_or_default();
                    endpoints::fill(&mut fresh, service, slices, &pods);
                    built.services.insert(name.clone(), share(fresh, before.services.get(&name)));
                }
            }
        }
        built.index();
        built
    }

    /// The service at a virtual address.
    pub fn service_at(&self, ip: IpAddr) -> Option<&Arc<Service>> {
        self.services_by_ip.get(&ip)
    }

    /// The service of a name.
    pub fn service(&self, name: &Name) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The pod of a name.
    pub fn pod(&self, name: &Name) -> Option<&Arc<Pod>> {
        self.pods.get(name)
    }

    /// The pod that is reached at an address and port. Several pods may share their node's address; then it is the
    /// one that declares the port.
    pub fn pod_at(&self, ip: IpAddr, port: u16) -> Option<&Arc<Pod>> {
        let pods = self.pods_by_ip.get(&ip)?;
        pods.iter()
            .find(|pod| !pod.host_network)
            .or_else(|| pods.iter().find(|pod| pod.ports.contains(&port)))
    }

    /// The pods of a node, in the order of their names.
    pub fn pods_on(&self, node: &str) -> &[Arc<Pod>] {
        self.pods_by_node.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    /// All nodes that have pods.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.pods_by_node.keys().map(String::as_str)
    }

    /// The zone of a node, if anything says so.
    pub fn zone_of(&self, node: &str) -> Option<&str> {
        self.zones.get(node).map(String::as_str)
    }

    /// All pods.
    pub fn pods(&self) -> impl ExactSizeIterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    /// All services.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// Addresses of pods and services that the mesh's networks do not contain.
    pub fn strangers(&self, mesh: &Mesh) -> BTreeSet<IpAddr> {
        let pods = self.pods.values().filter(|pod| !pod.host_network).flat_map(|pod| &pod.ips);
        let services = self.services_by_ip.keys();
        pods.chain(services).copied().filter(|ip| !mesh.contains(*ip)).collect()
    }

    fn index(&mut self) {
        for pod in self.pods.values() {
            for ip in &pod.ips {
                self.pods_by_ip.entry(*ip).or_default().push(pod.clone());
            }
            if let Some(node) = &pod.node {
                self.pods_by_node.entry(node.clone()).or_default().push(pod.clone());
            }
        }
        for pods in self.pods_by_ip.values_mut() {
            // An address that was given away again belongs to the pod that is not about to go.
            pods.sort_by_key(|pod| !pod.ready);
        }
        for service in self.services.values() {
            for ip in &service.cluster_ips {
                self.services_by_ip.entry(*ip).or_insert_with(|| service.clone());
            }
        }
    }
}

impl Name {
    fn of(object: &Object) -> Self {
        let metadata = object.metadata();
        Self {
            namespace: metadata.namespace.clone().unwrap_or_else(|| "default".into()),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

fn is_served(pod: &Pod, served: &Served) -> bool {
    let of_node = pod.node.as_ref().and_then(|node| served.get(node));
    of_node.is_some_and(|served| served.contains(&pod.instance()))
}

fn share<T: PartialEq>(fresh: T, before: Option<&Arc<T>>) -> Arc<T> {
    match before {
        Some(before) if **before == fresh => before.clone(),
        _ => Arc::new(fresh),
    }
}

fn servers<'a>(objects: &[&'a Object]) -> Servers<'a> {
    Servers::new(objects.iter().filter_map(|object| match object {
        Object::Server(server) => Some((
            server.metadata.namespace.as_deref().unwrap_or("default"),
            server.metadata.name.as_deref()?,
            &**server,
        )),
        _ => None,
    }))
}

fn slices<'a>(objects: &[&'a Object]) -> HashMap<Name, Vec<&'a EndpointSlice>> {
    let mut slices: HashMap<Name, Vec<&EndpointSlice>> = HashMap::new();
    for object in objects {
        let Object::EndpointSlice(slice) = object else { continue };
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
        if let Some(service) = service {
            let name = Name { name: service.clone(), ..Name::of(object) };
            slices.entry(name).or_default().push(slice);
        }
    }
    slices
}

/// The zones of nodes, as far as pods and slices tell.
fn zones<'a>(objects: &[&Object], pods: impl Iterator<Item = &'a Arc<Pod>>) -> HashMap<String, String> {
    let of_pods = pods.filter_map(|pod| Some((pod.node.clone()?, pod.zone.clone()?)));
    let mut zones: HashMap<String, String> = of_pods.collect();
    for object in objects {
        let Object::EndpointSlice(slice) = object else { continue };
        for endpoint in &slice.endpoints {
            if let (Some(node), Some(zone)) = (&endpoint.node_name, &endpoint.zone) {
                zones.entry(node.clone()).or_insert_with(|| zone.clone());
            }
        }
    }
    zones
}
