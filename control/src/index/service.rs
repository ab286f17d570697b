//! Services as the mesh sees them.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::Deref,
    sync::Arc,
};

use k8s_openapi::{api::core::v1, apimachinery::pkg::util::intstr::IntOrString};

use super::{pod::Pod, pod_config::opaque_ports};
use crate::{
    model::Name,
    settings::{Annotations, PortRange, PortSet, Protocol},
};

/// A service with its endpoints. Ports are those of the service, not of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: Name,
    /// Shared with the service as it was before if only endpoints have changed.
    pub settings: Arc<ServiceSettings>,
    pub(super) endpoints: BTreeMap<u16, Vec<Endpoint>>,
    /// Of a headless service: the addresses behind ports that it does not declare. Their port is 0.
    pub(super) addresses: Vec<Endpoint>,
}

/// Everything about a service but its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSettings {
    pub cluster_ips: Vec<IpAddr>,
    /// It has no virtual address; its name resolves to the addresses of its pods.
    pub headless: bool,
    /// Ports whose connections clients must not interpret.
    pub opaque_ports: PortSet,
    /// The ports of its virtual addresses, and what `appProtocol` says of each: HTTP/1, HTTP/2, opaque or unknown.
    pub app_protocols: BTreeMap<u16, Protocol>,
    /// Ports that may be spliced, whoever the client is.
    pub splice_ports: PortSet,
    /// Clients may only use endpoints on their own node.
    pub local_only: bool,
}

/// An address that serves a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub addr: SocketAddr,
    /// The pod that has this address, if any.
    pub pod: Option<Arc<Pod>>,
    pub state: EndpointState,
    /// Its own name within a headless service.
    pub hostname: Option<Arc<str>>,
    pub node: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
    /// The zones whose clients are to use it. Empty if the slice has no hints.
    pub for_zones: Vec<String>,
}

/// Which endpoints clients may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    Ready,
    /// It is terminating and still serves. Clients may use it if no endpoint is ready.
    Draining,
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
    /// A service without endpoints.
    pub(super) fn build(name: Name, service: &v1::Service, namespace: &Annotations) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let own = Annotations::parse(service.metadata.annotations.as_ref()).0;
        // Not the namespace's annotation: it would opt in for clients of other namespaces.
        let splice_ports = own.splice_ports.clone().unwrap_or_default();
        let annotations = own.or(namespace);
        let by_name = |wanted: &str| ports(service).find(|port| port.name == wanted).map(|port| port.port);
        let app_protocols: BTreeMap<_, _> =
            ports(service).map(|port| (port.port, port.app_protocol())).collect();
        let opaque = app_protocols.iter().filter(|(_, protocol)| **protocol == Protocol::Opaque);
        let declared_opaque = opaque.map(|(port, _)| PortRange::one(*port));
        let annotated = opaque_ports(&annotations, by_name);
        let mut cluster_ips = Vec::new();
        for ip in spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten()) {
            match ip.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
                Ok(ip) if !cluster_ips.contains(&ip) => cluster_ips.push(ip),
                _ => {}
            }
        }
        let settings = ServiceSettings {
            headless: spec.cluster_ip.as_deref() == Some("None"),
            opaque_ports: annotated.ranges().iter().copied().chain(declared_opaque).collect(),
            app_protocols,
            splice_ports,
            local_only: spec.internal_traffic_policy.as_deref() == Some("Local"),
            cluster_ips,
        };
        Self { settings: Arc::new(settings), endpoints: BTreeMap::new(), addresses: Vec::new(), name }
    }

    /// The endpoints of `port`, ready or not. A port that is not declared has none, except in a headless service: its
    /// clients connect to the pods themselves, on any port.
    pub(super) fn all_endpoints(&self, port: u16) -> Cow<'_, [Endpoint]> {
        match self.endpoints.get(&port) {
            Some(endpoints) => Cow::Borrowed(endpoints),
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

/// The outside name that a service of type ExternalName stands for.
pub(super) fn external_name(service: &v1::Service) -> Option<&str> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() == Some("ExternalName"))?;
    Some(spec.external_name.as_deref().unwrap_or_default())
}

impl Deref for Service {
    type Target = ServiceSettings;

    fn deref(&self) -> &ServiceSettings {
        &self.settings
    }
}

impl ServiceSettings {
    /// The protocol that clients must speak to `port`, whichever way it is declared; unknown if it is to be detected.
    pub fn protocol(&self, port: u16) -> Protocol {
        match self.app_protocols.get(&port) {
            _ if self.opaque_ports.contains(port) => Protocol::Opaque,
            declared => declared.copied().unwrap_or_default(),
        }
    }
}

impl ServicePort<'_> {
    /// What `appProtocol` says. As in Linkerd, a protocol that it does not know makes the port opaque, and the case does
    /// not matter.
    fn app_protocol(&self) -> Protocol {
        match self.app_protocol {
            None => Protocol::Unknown,
            Some(name) if name.eq_ignore_ascii_case("http") => Protocol::Http1,
            Some(name) if name.eq_ignore_ascii_case("kubernetes.io/h2c") => Protocol::Http2,
            Some(_) => Protocol::Opaque,
        }
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
