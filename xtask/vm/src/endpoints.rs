//! Finds the addresses that serve each port of each service.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort as Port};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::desired::{Desired, ServiceKey};
use crate::layout::PodKey;
use crate::nft::{Protocol, ServicePort};

/// The label by which an EndpointSlice says whose it is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The pods that serve at present and their addresses.
pub(crate) type Serving = BTreeMap<PodKey, Vec<IpAddr>>;

/// The rules for all ports of all services that have ClusterIPs.
pub(crate) fn service_ports(
    desired: &Desired,
    cluster_ips: &BTreeMap<ServiceKey, Vec<IpAddr>>,
    serving: &Serving,
) -> Vec<ServicePort> {
    let mut ports = Vec::new();
    for (key, service) in &desired.services {
        let Some(ips) = cluster_ips.get(key).filter(|ips| !ips.is_empty()) else { continue };
        for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
            let (Some(protocol), Ok(number)) = (protocol(port), u16::try_from(port.port)) else { continue };
            let endpoints = endpoints(desired, key, service, port, serving);
            ports.push(ServicePort { ips: ips.clone(), protocol, port: number, endpoints });
        }
    }
    ports
}

/// The serving pods that a service selects.
pub(crate) fn selected<'a>(
    desired: &'a Desired,
    namespace: &'a str,
    service: &'a Service,
    serving: &'a Serving,
) -> impl Iterator<Item = (&'a PodKey, &'a Pod, &'a [IpAddr])> {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|s| !s.is_empty());
    desired.pods.iter().filter_map(move |(key, pod)| {
        let labels = pod.metadata.labels.as_ref()?;
        let matches = key.namespace == namespace
            && selector?.iter().all(|(name, value)| labels.get(name) == Some(value))
            && ready(pod);
        matches.then(|| serving.get(key).map(|ips| (key, pod, ips.as_slice())))?
    })
}

/// Ready unless its manifest says otherwise: there are no probes here.
fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().all(|condition| condition.type_ != "Ready" || condition.status == "True")
}

fn endpoints(
    desired: &Desired,
    key: &ServiceKey,
    service: &Service,
    port: &Port,
    serving: &Serving,
) -> Vec<SocketAddr> {
    let mut endpoints: Vec<SocketAddr> = selected(desired, &key.0, service, serving)
        .filter_map(|(_, pod, ips)| Some((target_port(port, pod)?, ips)))
        .flat_map(|(target, ips)| ips.iter().map(move |ip| SocketAddr::new(*ip, target)))
        .chain(desired.slices.iter().flat_map(|slice| of_slice(slice, key, port)))
        .collect();
    endpoints.sort();
    endpoints.dedup();
    endpoints
}

fn of_slice(slice: &EndpointSlice, key: &ServiceKey, port: &Port) -> Vec<SocketAddr> {
    let metadata = &slice.metadata;
    let owner = metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
    if owner != Some(&key.1) || metadata.namespace.as_deref().unwrap_or("default") != key.0 {
        return Vec::new();
    }
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let targets: Vec<u16> = slice
        .ports
        .iter()
        .flatten()
        .filter(|target| name(&target.name) == name(&port.name))
        .filter_map(|target| u16::try_from(target.port?).ok())
        .collect();
    slice
        .endpoints
        .iter()
        .filter(|endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        })
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|ip| ip.parse().ok())
        .flat_map(|ip: IpAddr| targets.iter().map(move |target| SocketAddr::new(ip, *target)))
        .collect()
}

fn target_port(port: &Port, pod: &Pod) -> Option<u16> {
    match &port.target_port {
        None => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .flat_map(|container| container.ports.iter().flatten())
            .find(|container| container.name.as_ref() == Some(name))
            .and_then(|container| u16::try_from(container.container_port).ok()),
    }
}

fn protocol(port: &Port) -> Option<Protocol> {
    match port.protocol.as_deref() {
        None | Some("" | "TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}
