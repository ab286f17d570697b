//! Pods as the mesh sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::api::core::v1;
use serde::{Deserialize, Serialize};

use super::{owner::metric_labels, pod_config::PodConfig, servers::Servers};
use crate::{model::Name, settings::Annotations};

/// A pod that runs or will run. Fields without a comment mean what they mean in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: Name,
    pub uid: String,
    pub node: Option<String>,
    pub service_account: String,
    pub host_network: bool,
    pub runtime_class: Option<String>,
    pub ips: Vec<IpAddr>,
    /// Whether services may send connections to it: no condition says otherwise, and it is not being deleted.
    pub ready: bool,
    pub hostname: Option<String>,
    pub subdomain: Option<String>,
    pub zone: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// Labels that its metrics have besides namespace and pod.
    pub metric_labels: BTreeMap<String, String>,
    /// Its TCP ports that have a name.
    pub named_ports: BTreeMap<String, u16>,
    /// All TCP ports that its containers declare.
    pub ports: BTreeSet<u16>,
    /// Whether it asks to be meshed. A pod in its node's network cannot be.
    pub inject: bool,
    /// Whether its node's proxy reports that it serves the pod.
    pub served: bool,
    pub config: PodConfig,
}

/// A pod by name and uid: a pod that is created again under the same name is another instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instance {
    pub name: Name,
    pub uid: String,
}

/// For each node the pods that its proxy reports as served.
pub type Served = BTreeMap<String, BTreeSet<Instance>>;

impl Pod {
    /// Returns `None` for a pod that has ended.
    pub(super) fn build(
        name: Name,
        pod: &v1::Pod,
        namespace: &Annotations,
        servers: &Servers<'_>,
        served: &Served,
    ) -> Option<Self> {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
            return None;
        }
        let annotations = Annotations::parse(pod.metadata.annotations.as_ref()).0.or(namespace);
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let (named_ports, ports) = ports(spec);
        let mut config = PodConfig::from_annotations(&annotations, &named_ports);
        servers.apply(&mut config, &name.namespace, &labels, &named_ports);
        config.fail_mode = annotations.fail_mode.unwrap_or_else(|| config.default_fail_mode());
        let text = |value: Option<&String>| value.filter(|value| !value.is_empty()).cloned();
        let mut built = Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: text(spec.and_then(|spec| spec.node_name.as_ref())),
            service_account: text(spec.and_then(|spec| spec.service_account_name.as_ref()))
                .unwrap_or_else(|| "default".into()),
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or_default(),
            runtime_class: text(spec.and_then(|spec| spec.runtime_class_name.as_ref())),
            ips: ips(status),
            ready: pod.metadata.deletion_timestamp.is_none() && is_ready(status),
            hostname: text(spec.and_then(|spec| spec.hostname.as_ref())),
            subdomain: text(spec.and_then(|spec| spec.subdomain.as_ref())),
            zone: labels.get("topology.kubernetes.io/zone").cloned(),
            metric_labels: metric_labels(&pod.metadata),
            inject: annotations.inject.unwrap_or_default(),
            served: false,
            name,
            labels,
            named_ports,
            ports,
            config,
        };
        built.served = built.is_in(served);
        Some(built)
    }

    pub fn instance(&self) -> Instance {
        Instance { name: self.name.clone(), uid: self.uid.clone() }
    }

    /// Whether its node's proxy is to serve it.
    pub fn is_meshed(&self) -> bool {
        self.inject && !self.host_network
    }

    /// Whether peers can expect mTLS on `port`. They cannot before the proxy serves the pod: until then its application
    /// itself would receive the ClientHello.
    pub fn serves_tls_on(&self, port: u16) -> bool {
        self.is_meshed() && self.served && !self.config.skip_inbound_ports.contains(port)
    }

    fn is_in(&self, served: &Served) -> bool {
        let on_node = self.node.as_ref().and_then(|node| served.get(node));
        on_node.is_some_and(|served| served.contains(&self.instance()))
    }
}

fn is_ready(status: Option<&v1::PodStatus>) -> bool {
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    !conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status != "True")
}

fn ips(status: Option<&v1::PodStatus>) -> Vec<IpAddr> {
    let Some(status) = status else { return Vec::new() };
    let all = status.pod_ip.iter().chain(status.pod_ips.iter().flatten().map(|ip| &ip.ip));
    let mut ips = Vec::new();
    for ip in all.filter_map(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical()) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    ips
}

/// The TCP ports of the containers that keep running: those with a name, and all of them.
fn ports(spec: Option<&v1::PodSpec>) -> (BTreeMap<String, u16>, BTreeSet<u16>) {
    let Some(spec) = spec else { return Default::default() };
    let is_sidecar = |container: &&v1::Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
    let (mut named, mut all) = (BTreeMap::new(), BTreeSet::new());
    for port in spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten())
    {
        let Ok(number) = u16::try_from(port.container_port) else { continue };
        if port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP") {
            all.insert(number);
            if let Some(name) = &port.name {
                named.entry(name.clone()).or_insert(number);
            }
        }
    }
    (named, all)
}
