//! What a pod's containers say: ports, health checks and a Linkerd sidecar.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, PodSpec, Probe as HealthCheck},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::model::{LINKERD_CONTAINER, LINKERD_INBOUND_ADDR};

/// The path of gRPC's health service.
const GRPC_HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";

/// A health check over the network that the kubelet makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    pub port: u16,
    /// The path of an HTTP request; `None` for a check of the TCP port.
    pub path: Option<String>,
    /// The request is made over the application's own TLS.
    pub tls: bool,
}

/// The TCP ports of a pod.
#[derive(Debug, Default)]
pub(super) struct Ports {
    pub(super) named: BTreeMap<String, u16>,
    pub(super) all: BTreeSet<u16>,
}

/// The containers that keep running.
fn running(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(is_sidecar))
}

fn tcp_ports(container: &Container) -> impl Iterator<Item = (u16, &ContainerPort)> {
    let ports = container.ports.iter().flatten();
    let tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    tcp.filter_map(|port| Some((u16::try_from(port.container_port).ok()?, port)))
}

pub(super) fn ports(spec: Option<&PodSpec>) -> Ports {
    let mut ports = Ports::default();
    for (number, port) in spec.into_iter().flat_map(running).flat_map(tcp_ports) {
        ports.all.insert(number);
        if let Some(name) = &port.name {
            ports.named.entry(name.clone()).or_insert(number);
        }
    }
    ports
}

/// The health checks of a pod that go to the pod itself, sorted.
pub(super) fn probes(spec: Option<&PodSpec>) -> Vec<Probe> {
    let mut found = BTreeSet::new();
    for container in spec.into_iter().flat_map(running) {
        let checks = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
        found.extend(checks.into_iter().flatten().filter_map(|check| probe(check, container)));
    }
    found.into_iter().collect()
}

fn probe(check: &HealthCheck, container: &Container) -> Option<Probe> {
    // A check with a host is made of that host.
    let is_own = |host: &Option<String>| host.as_deref().is_none_or(str::is_empty);
    // The name of a port counts within its container.
    let number = |port: &IntOrString| match port {
        IntOrString::Int(number) => u16::try_from(*number).ok().filter(|port| *port > 0),
        IntOrString::String(name) => {
            let named = tcp_ports(container).find(|(_, port)| port.name.as_ref() == Some(name));
            named.map(|(number, _)| number).or_else(|| name.parse().ok())
        }
    };
    if let Some(get) = &check.http_get {
        let path = get.path.as_deref().unwrap_or_default().split(['?', '#']).next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let port = number(&get.port).filter(|_| is_own(&get.host))?;
        let tls = get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("HTTPS"));
        return Some(Probe { port, path: Some(path), tls });
    }
    if let Some(grpc) = &check.grpc {
        let port = u16::try_from(grpc.port).ok().filter(|port| *port > 0)?;
        return Some(Probe { port, path: Some(GRPC_HEALTH_PATH.to_owned()), tls: false });
    }
    let tcp = check.tcp_socket.as_ref().filter(|tcp| is_own(&tcp.host))?;
    Some(Probe { port: number(&tcp.port)?, path: None, tls: false })
}

/// The inbound port of a Linkerd sidecar: `None` without a sidecar, `Some(None)` if the sidecar does not name it.
pub(super) fn linkerd_inbound_port(spec: Option<&PodSpec>) -> Option<Option<u16>> {
    let spec = spec?;
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let sidecar = all.into_iter().find(|container| container.name == LINKERD_CONTAINER)?;
    let variable = sidecar.env.iter().flatten().find(|variable| variable.name == LINKERD_INBOUND_ADDR);
    let address = variable.and_then(|variable| variable.value.as_deref());
    Some(address.and_then(|address| address.rsplit_once(':')?.1.parse().ok()))
}
