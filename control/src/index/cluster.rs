//! The cluster at one moment: its pods and services, found by name, address or node.
//!
//! The maps are persistent: a snapshot costs nothing, and a change copies only the path to what it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::{pod::Pod, service::Service};
use crate::{mesh::Mesh, model::Name, settings::PortSet};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    pods: RedBlackTreeMapSync<Name, Arc<Pod>>,
    services: RedBlackTreeMapSync<Name, Arc<Service>>,
    external_names: HashTrieMapSync<Name, String>,
    pods_by_ip: NamesByIp,
    services_by_ip: NamesByIp,
    pods_by_node: RedBlackTreeMapSync<String, Arc<BTreeSet<Name>>>,
    zones: HashTrieMapSync<String, String>,
    splicing: Arc<Splicing>,
    opaque_ports: PortSet,
}

/// The pods and services that opted in to splicing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splicing {
    /// Meshed pods with splice ports.
    pub pods: BTreeMap<Name, Arc<Pod>>,
    /// Services with splice ports, and services of such pods.
    pub services: BTreeMap<Name, Arc<Service>>,
}

impl Cluster {
    pub fn service(&self, name: &Name) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The outside name that a service of type ExternalName stands for. Such a service is not among the services.
    pub fn external_name(&self, service: &Name) -> Option<&str> {
        self.external_names.get(service).map(String::as_str)
    }

    /// The service with this virtual address.
    pub fn service_at(&self, ip: IpAddr) -> Option<&Arc<Service>> {
        let names = self.services_by_ip.get(&ip)?;
        names.first().and_then(|name| self.services.get(name))
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
        let pods = self.pods_with(ip);
        pods.iter()
            .find(|pod| !pod.host_network)
            .or_else(|| pods.iter().find(|pod| pod.ports.contains(&port)))
            .copied()
    }

    /// The pod that has this address for itself.
    pub(super) fn pod_alone_at(&self, ip: IpAddr) -> Option<&Arc<Pod>> {
        self.pods_with(ip).into_iter().find(|pod| !pod.host_network)
    }

    pub fn pods(&self) -> impl ExactSizeIterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    /// The pods of a node, ordered by name.
    pub fn pods_on(&self, node: &str) -> Vec<Arc<Pod>> {
        let names = self.pods_by_node.get(node).into_iter().flat_map(|names| names.iter());
        names.filter_map(|name| self.pods.get(name)).cloned().collect()
    }

    /// All nodes that have pods.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.pods_by_node.keys().map(String::as_str)
    }

    /// The zone of a node, if a Node, a pod or a slice names it.
    pub fn zone_of(&self, node: &str) -> Option<&str> {
        self.zones.get(node).map(String::as_str)
    }

    /// The same `Arc` as in the previous snapshot if nothing of it changed.
    pub fn splicing(&self) -> &Arc<Splicing> {
        &self.splicing
    }

    /// The opaque ports of everything that no annotation is about.
    pub fn opaque_ports(&self) -> &PortSet {
        &self.opaque_ports
    }

    /// Addresses of pods and services that the cluster's networks do not contain.
    pub fn outside_networks(&self, mesh: &Mesh) -> BTreeSet<IpAddr> {
        let pods = self.pods.values().filter(|pod| !pod.host_network).flat_map(|pod| &pod.ips);
        let services = self.services_by_ip.keys();
        pods.chain(services).copied().filter(|ip| !mesh.contains(*ip)).collect()
    }

    /// The pods with this address. An address may already have a new pod while the old one is being deleted: the ready
    /// one comes first.
    fn pods_with(&self, ip: IpAddr) -> Vec<&Arc<Pod>> {
        let names = self.pods_by_ip.get(&ip).into_iter().flat_map(|names| names.iter());
        let mut pods: Vec<_> = names.filter_map(|name| self.pods.get(name)).collect();
        pods.sort_by_key(|pod| !pod.ready);
        pods
    }

    /// Replaces a pod, or removes it.
    pub(super) fn set_pod(&mut self, name: &Name, pod: Option<Arc<Pod>>) {
        let before = self.pods.get(name).cloned();
        if let Some(before) = &before {
            self.pods.remove_mut(name);
            for ip in &before.ips {
                remove_at_ip(&mut self.pods_by_ip, *ip, name);
            }
            if let Some(node) = &before.node {
                let mut names = self.pods_by_node.get(node).cloned().unwrap_or_default();
                Arc::make_mut(&mut names).remove(name);
                match names.is_empty() {
                    true => _ = self.pods_by_node.remove_mut(node),
                    false => self.pods_by_node.insert_mut(node.clone(), names),
                }
            }
        }
        let Some(pod) = pod else { return };
        for ip in &pod.ips {
            add_at_ip(&mut self.pods_by_ip, *ip, name);
        }
        if let Some(node) = &pod.node {
            let mut names = self.pods_by_node.get(node).cloned().unwrap_or_default();
            Arc::make_mut(&mut names).insert(name.clone());
            self.pods_by_node.insert_mut(node.clone(), names);
        }
        self.pods.insert_mut(name.clone(), pod);
    }

    /// Replaces a service, or removes it.
    pub(super) fn set_service(&mut self, name: &Name, service: Option<Arc<Service>>) {
        let before = self.services.get(name).cloned();
        let settings =
            |service: &Option<Arc<Service>>| service.as_ref().map(|service| service.settings.clone());
        if settings(&before) != settings(&service) {
            for ip in before.iter().flat_map(|service| &service.cluster_ips) {
                remove_at_ip(&mut self.services_by_ip, *ip, name);
            }
            for ip in service.iter().flat_map(|service| &service.cluster_ips) {
                add_at_ip(&mut self.services_by_ip, *ip, name);
            }
        }
        match service {
            Some(service) => self.services.insert_mut(name.clone(), service),
            None => _ = self.services.remove_mut(name),
        }
    }

    pub(super) fn set_external_name(&mut self, service: &Name, external: Option<&str>) {
        match external {
            Some(external) => self.external_names.insert_mut(service.clone(), external.to_owned()),
            None => _ = self.external_names.remove_mut(service),
        }
    }

    pub(super) fn set_zone(&mut self, node: &str, zone: Option<&str>) {
        match zone {
            Some(zone) => self.zones.insert_mut(node.to_owned(), zone.to_owned()),
            None => _ = self.zones.remove_mut(node),
        }
    }

    pub(super) fn set_opaque_ports(&mut self, ports: PortSet) {
        self.opaque_ports = ports;
    }

    /// For changes of what opted in to splicing.
    pub(super) fn splicing_mut(&mut self) -> &mut Splicing {
        Arc::make_mut(&mut self.splicing)
    }
}

/// Sorted. Nearly every address has one name, for which the smallest tree would be eleven times too large.
type NamesByIp = HashTrieMapSync<IpAddr, Arc<[Name]>>;

fn add_at_ip(map: &mut NamesByIp, ip: IpAddr, name: &Name) {
    let names = map.get(&ip).map(|names| &**names).unwrap_or_default();
    let Err(at) = names.binary_search(name) else { return };
    let (before, after) = names.split_at(at);
    let all = before.iter().chain([name]).chain(after).cloned().collect();
    map.insert_mut(ip, all);
}

fn remove_at_ip(map: &mut NamesByIp, ip: IpAddr, name: &Name) {
    let Some(names) = map.get(&ip) else { return };
    let left: Arc<[Name]> = names.iter().filter(|other| *other != name).cloned().collect();
    match left.is_empty() {
        true => _ = map.remove_mut(&ip),
        false => map.insert_mut(ip, left),
    }
}
