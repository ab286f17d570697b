//! Services as the mesh sees them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::{api::core::v1, apimachinery::pkg::util::intstr::IntOrString};

use super::{pod::Pod, pod_config::opaque_ports};
use crate::{
    model::Name,
    settings::{Annotations, PortRange, PortSet},
};

/// A service with its ready endpoints. Ports are those of the service, not of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: Name,
    pub cluster_ips: Vec<IpAddr>,
    /// It has no virtual address; its name resolves to the addresses of its pods.
    pub headless: bool,
    /// Ports whose connections clients must not interpret.
    pub opaque_ports: PortSet,
    /// Ports that may be spliced, whoever the client is.
    pub splice_ports: PortSet,
    /// Clients may only use endpoints on their own node.
    pub local_only: bool,
    pub(super) endpoints: BTreeMap<u16, Vec<Endpoint>>,
    /// Of a headless service: the addresses behind ports that it does not declare. Their port is 0.
    pub(super) addresses: Vec<Endpoint>,
}

/// An address that serves a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub addr: SocketAddr,
    /// The pod that has this address, if any.
    pub pod: Option<Arc<Pod>>,
    /// Its own name within a headless service.
    pub hostname: Option<String>,
    pub node: Option<String>,
    pub zone: Option<String>,
}

#[derive(Debug)]
pub(super) struct ServicePort<'a> {
    pub(super) name: &'a str,
    pub(super) port: u16,
    pub(super) target: Target<'a>,
    app_protocol: Option<&'a str>,
}

/// The port of a pod that a service's port leads to.
#[derive(Debug)]
pub(super) enum Target<'a> {
    Port(u16),
    Name(&'a str),
}

impl Service {
    /// A service without endpoints. Returns `None` for an ExternalName, which is only an alias of an outside name.
    pub(super) fn build(name: Name, service: &v1::Service, namespace: &Annotations) -> Option<Self> {
        let spec = service.spec.clone().unwrap_or_default();
        if spec.type_.as_deref() == Some("ExternalName") {
            return None;
        }
        let own = Annotations::parse(service.metadata.annotations.as_ref()).0;
        // Not the namespace's annotation: it would opt in for clients of other namespaces.
        let splice_ports = own.splice_ports.clone().unwrap_or_default();
        let annotations = own.or(namespace);
        let by_name = |wanted: &str| ports(service).find(|port| port.name == wanted).map(|port| port.port);
        let declared_opaque =
            ports(service).filter(ServicePort::is_opaque).map(|port| PortRange::one(port.port));
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

    /// The endpoints of `port`. A port that is not declared has none, except in a headless service: its clients connect
    /// to the pods themselves, on any port.
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

    /// The number of endpoints of all ports together.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.values().map(Vec::len).sum()
    }
}

impl ServicePort<'_> {
    /// Whether `appProtocol` says that the port does not carry HTTP. As in Linkerd, any protocol counts that it does not
    /// know, and the case does not matter.
    fn is_opaque(&self) -> bool {
        let is_http =
            |protocol| ["http", "kubernetes.io/h2c"].iter().any(|http| http.eq_ignore_ascii_case(protocol));
        self.app_protocol.is_some_and(|protocol| !is_http(protocol))
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
        Some(ServicePort {
            name: port.name.as_deref().unwrap_or_default(),
            port: number,
            target,
            app_protocol: port.app_protocol.as_deref().filter(|protocol| !protocol.is_empty()),
        })
    })
}
