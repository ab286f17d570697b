//! Finds the endpoints of services.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1,
    discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice},
};

use super::{
    pod::Pod,
    service::{Endpoint, EndpointState, Service, Target, ports},
};
use crate::model::Name;

/// Finds pods.
pub(super) trait Pods {
    fn named(&self, name: &Name) -> Option<&Arc<Pod>>;

    /// The pod that has this address for itself.
    fn at(&self, ip: IpAddr) -> Option<&Arc<Pod>>;

    /// The pods of a namespace with all of these labels, ordered by name.
    fn labelled(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<&Arc<Pod>>;
}

/// Sets the endpoints of `built`: those of its slices if it has any, otherwise those of the pods that it selects.
pub(super) fn fill(built: &mut Service, service: &v1::Service, slices: &[&EndpointSlice], pods: &impl Pods) {
    let publish_all =
        service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or_default();
    if slices.is_empty() {
        from_pods(built, service, publish_all, pods);
    } else {
        from_slices(built, service, slices, publish_all, pods);
    }
    for endpoints in built.endpoints.values_mut().chain([&mut built.addresses]) {
        endpoints.sort_by_key(|endpoint| endpoint.addr);
        endpoints.dedup_by_key(|endpoint| endpoint.addr);
    }
}

fn from_pods(built: &mut Service, service: &v1::Service, publish_all: bool, pods: &impl Pods) {
    // A service without a selector selects none.
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selected = selector.map(|labels| pods.labelled(&built.name.namespace, labels)).unwrap_or_default();
    let usable: Vec<_> =
        selected.into_iter().filter_map(|pod| Some((pod, state(pod, publish_all)?))).collect();
    for port in ports(service) {
        let mut endpoints = Vec::new();
        for (pod, state) in &usable {
            let number = match port.target {
                Target::Port(number) => Some(number),
                Target::Name(name) => pod.named_ports.get(name).copied(),
            };
            let Some(number) = number else { continue };
            let addrs = pod.ips.iter().map(|ip| SocketAddr::new(*ip, number));
            endpoints.extend(addrs.map(|addr| pod_endpoint(pod, *state, addr, &built.name)));
        }
        built.endpoints.insert(port.port, endpoints);
    }
    if built.headless {
        for (pod, state) in &usable {
            let addrs = pod.ips.iter().map(|ip| SocketAddr::new(*ip, 0));
            built.addresses.extend(addrs.map(|addr| pod_endpoint(pod, *state, addr, &built.name)));
        }
    }
}

fn state(pod: &Pod, publish_all: bool) -> Option<EndpointState> {
    match pod {
        _ if publish_all || pod.ready => Some(EndpointState::Ready),
        _ if pod.draining => Some(EndpointState::Draining),
        _ => None,
    }
}

fn pod_endpoint(pod: &Arc<Pod>, state: EndpointState, addr: SocketAddr, service: &Name) -> Endpoint {
    // A host name applies to the service that the pod names as its subdomain.
    let named = pod.subdomain.as_ref().is_some_and(|subdomain| *subdomain == service.name);
    Endpoint {
        addr,
        state,
        hostname: pod.hostname.as_deref().filter(|_| named).map(Arc::from),
        node: pod.node.as_deref().map(Arc::from),
        zone: pod.zone.as_deref().map(Arc::from),
        for_zones: Vec::new(),
        pod: Some(pod.clone()),
    }
}

fn from_slices(
    built: &mut Service,
    service: &v1::Service,
    slices: &[&EndpointSlice],
    publish_all: bool,
    pods: &impl Pods,
) {
    for port in ports(service) {
        built.endpoints.insert(port.port, Vec::new());
    }
    for slice in slices {
        for endpoint in &slice.endpoints {
            let Some(state) = slice_state(endpoint, publish_all) else { continue };
            // All addresses of an endpoint are equivalent, so one of them is enough.
            let Some(ip) = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok())
            else {
                continue;
            };
            let at_port = |port| {
                let addr = SocketAddr::new(ip.to_canonical(), port);
                slice_endpoint(endpoint, state, addr, &built.name, pods)
            };
            let mut found = Vec::new();
            for port in ports(service) {
                let same_name = slice.ports.iter().flatten().find(|slice_port| {
                    slice_port.name.as_deref().unwrap_or_default() == port.name
                        && slice_port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")
                });
                if let Some(number) = same_name.and_then(|port| u16::try_from(port.port?).ok()) {
                    found.push((port.port, at_port(number)));
                }
            }
            let address = built.headless.then(|| at_port(0));
            for (port, endpoint) in found {
                built.endpoints.entry(port).or_default().push(endpoint);
            }
            built.addresses.extend(address);
        }
    }
}

/// As kube-proxy does: a condition that is absent says nothing against an endpoint.
fn slice_state(endpoint: &SliceEndpoint, publish_all: bool) -> Option<EndpointState> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    if publish_all || conditions.ready != Some(false) {
        return Some(EndpointState::Ready);
    }
    let drains = conditions.terminating == Some(true) && conditions.serving != Some(false);
    drains.then_some(EndpointState::Draining)
}

fn slice_endpoint(
    endpoint: &SliceEndpoint,
    state: EndpointState,
    addr: SocketAddr,
    service: &Name,
    pods: &impl Pods,
) -> Endpoint {
    // A reference to a pod that does not have this address (any more) is ignored: peers would expect a wrong identity.
    let named = target_pod(endpoint, &service.namespace).and_then(|name| pods.named(&name));
    let pod = named.filter(|pod| pod.ips.contains(&addr.ip())).or_else(|| pods.at(addr.ip())).cloned();
    let of_pod = |text: fn(&Pod) -> Option<&str>| pod.as_deref().and_then(text).map(Arc::from);
    let hints = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_ref());
    Endpoint {
        addr,
        state,
        hostname: endpoint.hostname.as_deref().map(Arc::from),
        node: endpoint.node_name.as_deref().map(Arc::from).or_else(|| of_pod(|pod| pod.node.as_deref())),
        zone: endpoint.zone.as_deref().map(Arc::from).or_else(|| of_pod(|pod| pod.zone.as_deref())),
        for_zones: hints.into_iter().flatten().map(|zone| zone.name.clone()).collect(),
        pod,
    }
}

/// The pod that an endpoint of a slice refers to.
pub(super) fn target_pod(endpoint: &SliceEndpoint, namespace: &str) -> Option<Name> {
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?;
    let namespace = target.namespace.clone().unwrap_or_else(|| namespace.to_owned());
    Some(Name { namespace, name: target.name.clone()? })
}
