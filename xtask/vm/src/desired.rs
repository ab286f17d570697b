//! Reads the manifests: the pods, services and endpoints that should exist.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use weft_control::{manifests::Loader, model::Object};

use crate::allot::Families;
use crate::layout::PodKey;

/// A service's namespace and name.
pub(crate) type ServiceKey = (String, String);

/// The parts of the manifests that a cluster of processes needs.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    pub(crate) pods: BTreeMap<PodKey, Pod>,
    /// Namespaces whose pods are meshed.
    pub(crate) meshed: BTreeSet<String>,
    pub(crate) services: BTreeMap<ServiceKey, Service>,
    pub(crate) slices: Vec<EndpointSlice>,
    /// What is wrong with the manifests: file, line, field.
    pub(crate) problems: Vec<String>,
}

impl Desired {
    /// Whether a pod is to be served by a proxy: it says so itself, or its namespace does.
    pub(crate) fn is_meshed(&self, key: &PodKey, pod: &Pod) -> bool {
        inject(&pod.metadata).unwrap_or_else(|| self.meshed.contains(&key.namespace))
    }
}

/// Reads a folder of manifests, again and again.
#[derive(Debug)]
pub(crate) struct Source {
    loader: Loader,
}

impl Source {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { loader: Loader::new(vec![folder]) }
    }

    /// Reads the manifests. A broken file keeps its last good content.
    pub(crate) fn read(&mut self) -> Desired {
        let loaded = self.loader.reload();
        let mut desired = Desired {
            problems: loaded.problems.iter().map(ToString::to_string).collect(),
            ..Desired::default()
        };
        for document in &loaded.documents {
            let (namespace, name) = (document.key.namespace.clone(), document.key.name.clone());
            match &*document.object {
                Object::Pod(pod) => {
                    desired.pods.insert(PodKey::new(namespace, name), (**pod).clone());
                }
                Object::Service(service) => {
                    desired.services.insert((namespace, name), (**service).clone());
                }
                Object::EndpointSlice(slice) => desired.slices.push((**slice).clone()),
                Object::Namespace(namespace) if inject(&namespace.metadata) == Some(true) => {
                    desired.meshed.insert(name);
                }
                // The dev VM needs no more of the policies, and runs pods without their owners.
                _ => {}
            }
        }
        desired
    }
}

/// The annotation linkerd.io/inject.
fn inject(metadata: &ObjectMeta) -> Option<bool> {
    match metadata.annotations.as_ref()?.get("linkerd.io/inject")?.as_str() {
        "enabled" | "ingress" => Some(true),
        "disabled" => Some(false),
        _ => None,
    }
}

/// The addresses that a pod's manifest fixes.
pub(crate) fn fixed_pod_ips(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let mut ips: Vec<IpAddr> = Vec::new();
    let listed = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    for ip in status.pod_ip.as_deref().into_iter().chain(listed).filter_map(|ip| ip.parse().ok()) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    ips
}

/// The families that a pod still needs addresses of: a lone `podIP` is completed, a list of `podIPs` is complete.
pub(crate) fn missing_pod_families(pod: &Pod, fixed: &[IpAddr]) -> Families {
    let listed =
        pod.status.as_ref().and_then(|status| status.pod_ips.as_ref()).is_some_and(|ips| !ips.is_empty());
    if listed {
        return Families { v4: false, v6: false };
    }
    Families { v4: !fixed.iter().any(IpAddr::is_ipv4), v6: !fixed.iter().any(IpAddr::is_ipv6) }
}

/// The ClusterIPs that a service's manifest fixes; None: it is headless or external.
pub(crate) fn fixed_cluster_ips(service: &Service) -> Option<Vec<IpAddr>> {
    let Some(spec) = &service.spec else { return Some(Vec::new()) };
    if spec.cluster_ip.as_deref() == Some("None") || spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let mut ips: Vec<IpAddr> = Vec::new();
    let listed = spec.cluster_ips.iter().flatten().map(String::as_str);
    for ip in spec.cluster_ip.as_deref().into_iter().chain(listed).filter_map(|ip| ip.parse().ok()) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    Some(ips)
}

/// The families of a service that fixes no ClusterIP: both, unless it says otherwise.
pub(crate) fn service_families(service: &Service) -> Families {
    let spec = service.spec.as_ref();
    let named = spec.and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default();
    let single = spec.and_then(|spec| spec.ip_family_policy.as_deref()) == Some("SingleStack");
    match named {
        [] if single => Families { v4: true, v6: false },
        [] => Families::DUAL,
        [first, ..] if single => Families { v4: first == "IPv4", v6: first == "IPv6" },
        named => {
            let has = |family: &str| named.iter().any(|name| name == family);
            Families { v4: has("IPv4"), v6: has("IPv6") }
        }
    }
}
