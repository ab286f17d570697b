//! The cluster at one moment: its pods and services, found by name, address or node.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{pod::Pod, service::Service};
use crate::{mesh::Mesh, model::Name};

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
    pub(super) fn new(
        pods: BTreeMap<Name, Arc<Pod>>,
        services: BTreeMap<Name, Arc<Service>>,
        zones: HashMap<String, String>,
    ) -> Self {
        let mut cluster = Self { pods, services, zones, ..Self::default() };
        for pod in cluster.pods.values() {
            for ip in &pod.ips {
                cluster.pods_by_ip.entry(*ip).or_default().push(pod.clone());
            }
            if let Some(node) = &pod.node {
                cluster.pods_by_node.entry(node.clone()).or_default().push(pod.clone());
            }
        }
        for pods in cluster.pods_by_ip.values_mut() {
            // An address may already have a new pod while the old one is being deleted: the ready one counts.
            pods.sort_by_key(|pod| !pod.ready);
        }
        for service in cluster.services.values() {
            for ip in &service.cluster_ips {
                cluster.services_by_ip.entry(*ip).or_insert_with(|| service.clone());
            }
        }
        cluster
    }

    pub fn service(&self, name: &Name) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The service with this virtual address.
    pub fn service_at(&self, ip: IpAddr) -> Option<&Arc<Service>> {
        self.services_by_ip.get(&ip)
    }

    pub fn services(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.services.values()
    }

    pub fn pod(&self, name: &Name) -> Option<&Arc<Pod>> {
        self.pods.get(name)
    }

    /// The pod that a connection to this address and port reaches. If several pods share their node's address, it is
    /// the one that declares the port.
    pub fn pod_at(&self, ip: IpAddr, port: u16) -> Option<&Arc<Pod>> {
        let pods = self.pods_by_ip.get(&ip)?;
        pods.iter()
            .find(|pod| !pod.host_network)
            .or_else(|| pods.iter().find(|pod| pod.ports.contains(&port)))
    }

    pub fn pods(&self) -> impl ExactSizeIterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    /// The pods of a node, ordered by name.
    pub fn pods_on(&self, node: &str) -> &[Arc<Pod>] {
        self.pods_by_node.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    /// All nodes that have pods.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.pods_by_node.keys().map(String::as_str)
    }

    /// The zone of a node, if a pod or a slice names it.
    pub fn zone_of(&self, node: &str) -> Option<&str> {
        self.zones.get(node).map(String::as_str)
    }

    /// Addresses of pods and services that the cluster's networks do not contain.
    pub fn outside_networks(&self, mesh: &Mesh) -> BTreeSet<IpAddr> {
        let pods = self.pods.values().filter(|pod| !pod.host_network).flat_map(|pod| &pod.ips);
        let services = self.services_by_ip.keys();
        pods.chain(services).copied().filter(|ip| !mesh.contains(*ip)).collect()
    }
}
