//! Finds the endpoints of services.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1,
    discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice},
};

use super::{
    pod::Pod,
    selector,
    service::{Endpoint, Service, Target, ports},
};
use crate::model::Name;

/// Pods by name, address and label.
#[derive(Debug, Default)]
pub(super) struct Pods<'a> {
    by_name: HashMap<&'a Name, &'a Arc<Pod>>,
    by_ip: HashMap<IpAddr, &'a Arc<Pod>>,
    /// Namespace, label and value: a service need not look at all pods.
    by_label: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Arc<Pod>>>,
}

impl<'a> Pods<'a> {
    pub(super) fn new(pods: impl Iterator<Item = &'a Arc<Pod>>) -> Self {
        let mut all = Self::default();
        for pod in pods {
            all.by_name.insert(&pod.name, pod);
            for (name, value) in &pod.labels {
                all.by_label.entry((&pod.name.namespace, name, value)).or_default().push(pod);
            }
            for ip in pod.ips.iter().filter(|_| !pod.host_network) {
                all.by_ip.entry(*ip).or_insert(pod);
            }
        }
        all
    }

    /// The pods that a service selects; a service without a selector selects none.
    fn selected(&self, service: &v1::Service, namespace: &str) -> Vec<&'a Arc<Pod>> {
        let Some(wanted) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else {
            return Vec::new();
        };
        let candidates = wanted.iter().map(|(name, value)| {
            self.by_label
                .get(&(namespace, name.as_str(), value.as_str()))
                .map(Vec::as_slice)
                .unwrap_or_default()
        });
        let fewest = candidates.min_by_key(|pods| pods.len()).unwrap_or_default();
        fewest.iter().filter(|pod| selector::contains(wanted, &pod.labels)).copied().collect()
    }
}

/// Sets the endpoints of `built`: those of its slices if it has any, otherwise those of the pods that it selects.
pub(super) fn fill(built: &mut Service, service: &v1::Service, slices: &[&EndpointSlice], pods: &Pods<'_>) {
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

fn from_pods(built: &mut Service, service: &v1::Service, publish_all: bool, pods: &Pods<'_>) {
    let selected = pods.selected(service, &built.name.namespace);
    for port in ports(service) {
        built.endpoints.insert(port.port, Vec::new());
        for pod in &selected {
            let number = match port.target {
                Target::Port(number) => Some(number),
                Target::Name(name) => pod.named_ports.get(name).copied(),
            };
            let Some(number) = number.filter(|_| pod.ready || publish_all) else { continue };
            let endpoints =
                pod.ips.iter().map(|ip| pod_endpoint(pod, SocketAddr::new(*ip, number), &built.name));
            built.endpoints.entry(port.port).or_default().extend(endpoints);
        }
    }
    if built.headless {
        let ready = selected.iter().filter(|pod| pod.ready || publish_all);
        let addresses = ready.flat_map(|pod| pod.ips.iter().map(move |ip| (*pod, SocketAddr::new(*ip, 0))));
        built.addresses = addresses.map(|(pod, addr)| pod_endpoint(pod, addr, &built.name)).collect();
    }
}

fn pod_endpoint(pod: &Arc<Pod>, addr: SocketAddr, service: &Name) -> Endpoint {
    // A host name applies to the service that the pod names as its subdomain.
    let named = pod.subdomain.as_ref().is_some_and(|subdomain| *subdomain == service.name);
    Endpoint {
        addr,
        hostname: pod.hostname.clone().filter(|_| named),
        node: pod.node.clone(),
        zone: pod.zone.clone(),
        pod: Some(pod.clone()),
    }
}

fn from_slices(
    built: &mut Service,
    service: &v1::Service,
    slices: &[&EndpointSlice],
    publish_all: bool,
    pods: &Pods<'_>,
) {
    for port in ports(service) {
        built.endpoints.insert(port.port, Vec::new());
    }
    for slice in slices {
        let ready = |endpoint: &&SliceEndpoint| {
            publish_all || endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
        };
        for endpoint in slice.endpoints.iter().filter(ready) {
            // All addresses of an endpoint are equivalent, so one of them is enough.
            let Some(ip) = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok())
            else {
                continue;
            };
            let at_port =
                |port| slice_endpoint(endpoint, SocketAddr::new(ip.to_canonical(), port), &built.name, pods);
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

fn slice_endpoint(endpoint: &SliceEndpoint, addr: SocketAddr, service: &Name, pods: &Pods<'_>) -> Endpoint {
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    let named = target.and_then(|target| {
        let namespace = target.namespace.clone().unwrap_or_else(|| service.namespace.clone());
        pods.by_name.get(&Name { namespace, name: target.name.clone()? })
    });
    // A reference to a pod that does not have this address (any more) is ignored: peers would expect a wrong identity.
    let named = named.filter(|pod| pod.ips.contains(&addr.ip()));
    let pod = named.or_else(|| pods.by_ip.get(&addr.ip())).copied().cloned();
    Endpoint {
        addr,
        hostname: endpoint.hostname.clone(),
        node: endpoint.node_name.clone().or_else(|| pod.as_ref().and_then(|pod| pod.node.clone())),
        zone: endpoint.zone.clone().or_else(|| pod.as_ref().and_then(|pod| pod.zone.clone())),
        pod,
    }
}
