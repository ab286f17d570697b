//! What is a service to the mesh?

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::{api::core::v1, apimachinery::pkg::util::intstr::IntOrString};

use super::{
    Name,
    pod::{Pod, opaque_ports},
};
use crate::settings::{Annotations, PortRange, PortSet};

/// A service with the endpoints that are ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: Name,
    /// Its virtual addresses.
    pub cluster_ips: Vec<IpAddr>,
    /// It has no virtual address; its name resolves to its pods.
    pub headless: bool,
    /// Ports (of the service) of which nothing is known but bytes.
    pub opaque_ports: PortSet,
    /// Ports (of the service) that may be spliced, whoever the client is.
    pub splice_ports: PortSet,
    /// Clients may only use endpoints on their own node.
    pub local_only: bool,
    /// By port of the service.
    pub(super) endpoints: BTreeMap<u16, Vec<Endpoint>>,
    /// Of a headless service: its addresses, for ports that it does not declare. Their port is 0.
    pub(super) addresses: Vec<Endpoint>,
}

/// An address that serves a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub addr: SocketAddr,
    /// Whose address it is, if it is a pod's.
    pub pod: Option<Arc<Pod>>,
    /// Its own name within a headless service.
    pub hostname: Option<String>,
    /// The node it is on.
    pub node: Option<String>,
    /// The zone that node is in.
    pub zone: Option<String>,
}

/// A TCP port of a service.
#[derive(Debug)]
pub(super) struct ServicePort<'a> {
    pub(super) name: &'a str,
    pub(super) port: u16,
    pub(super) target: Target<'a>,
}

/// Where in a pod a service's port leads.
#[derive(Debug)]
pub(super) enum Target<'a> {
    Port(u16),
    Name(&'a str),
}

impl Service {
    /// A service without endpoints; none if it is an alias for a name outside (ExternalName).
    pub(super) fn build(name: Name, service: &v1::Service, namespace: &Annotations) -> Option<Self> {
        let spec = service.spec.clone().unwrap_or_default();
        if spec.type_.as_deref() == Some("ExternalName") {
            return None;
        }
        let own = Annotations::parse(service.metadata.annotations.as_ref()).0;
        // Not the namespace's: that would opt in for clients of other namespaces.
        let splice_ports = own.splice_ports.clone().unwrap_or_default();
        let annotations = own.or(namespace);
        let by_name = |wanted: &str| ports(service).find(|port| port.name == wanted).map(|port| port.port);
        let declared = spec.ports.iter().flatten();
        let declared_opaque = declared
            .filter(|port| port.app_protocol.as_deref() == Some("linkerd.io/opaque"))
            .filter_map(|port| u16::try_from(port.port).ok())
            .map(PortRange::one);
        let annotated = opaque_ports(&annotations, by_name);
        let mut cluster_ips = Vec::new();
        for ip in spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten()) {
            match ip.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
                Ok(ip) if !cluster_ips.contains(&ip) => cluster_ips.push(ip),
                _ => {}
            }
        }
        Some(Self {
            headless: spec.cluster_ip.as_deref() == Some("None"),
            opaque_ports: annotated.ranges().iter().copied().chain(declared_opaque).collect(),
            splice_ports,
            local_only: spec.internal_traffic_policy.as_deref() == Some("Local"),
            endpoints: BTreeMap::new(),
            addresses: Vec::new(),
            name,
            cluster_ips,
        })
    }

    /// The endpoints of `port`. A port that is not declared leads nowhere, except that a headless service's clients
    /// dial the pods themselves, whatever the port.
    pub fn endpoints(&self, port: u16) -> Vec<Endpoint> {
        match self.endpoints.get(&port) {
            Some(endpoints) => endpoints.clone(),
            None => {
                let at_port = |endpoint: &Endpoint| Endpoint {
                    addr: SocketAddr::new(endpoint.addr.ip(), port),
                    ..endpoint.clone()
                };
                self.addresses.iter().map(at_port).collect()
            }
        }
    }

    /// The declared ports with their endpoints.
    pub fn ports(&self) -> impl Iterator<Item = (u16, &[Endpoint])> {
        self.endpoints.iter().map(|(port, endpoints)| (*port, endpoints.as_slice()))
    }

    /// Number of endpoints of all ports.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.values().map(Vec::len).sum()
    }
}

/// The TCP ports of a service.
pub(super) fn ports(service: &v1::Service) -> impl Iterator<Item = ServicePort<'_>> {
    let declared = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let tcp = declared.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    tcp.filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        let target = match &port.target_port {
            Some(IntOrString::Int(target)) => Target::Port(u16::try_from(*target).ok()?),
            Some(IntOrString::String(name)) => Target::Name(name),
            None => Target::Port(number),
        };
        Some(ServicePort { name: port.name.as_deref().unwrap_or_default(), port: number, target })
    })
}
