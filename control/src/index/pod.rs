//! Pods as the mesh sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use k8s_openapi::api::core::v1;
use serde::{Deserialize, Serialize};

use super::{
    containers::{self, Probe},
    owner::Owners,
    pod_config::PodConfig,
    servers::Servers,
    zones,
};
use crate::{model::Name, settings::Annotations};

/// The label of pods with a Linkerd sidecar.
const SIDECAR_LABEL: &str = "linkerd.io/control-plane-ns";
/// Parts of the names of runtime classes whose pods have a kernel of their own. Users choose these names: a pod behind
/// another name is found out by the proxy, which sees its runtime and does not report it as served.
const OWN_KERNELS: [&str; 7] =
    ["kata", "gvisor", "runsc", "firecracker", "cloud-hypervisor", "stratovirt", "peerpod"];

/// A pod that runs or will run. Fields without a comment mean what they mean in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: Name,
    pub uid: String,
    pub node: Option<String>,
    pub service_account: String,
    pub host_network: bool,
    pub ips: Vec<IpAddr>,
    /// Whether services may send connections to it: no condition says otherwise, and it is not being deleted.
    pub ready: bool,
    /// It is being deleted, and no condition says that it does not serve any more.
    pub draining: bool,
    pub hostname: Option<String>,
    pub subdomain: Option<String>,
    /// Its own label, or its Node's.
    pub zone: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// Labels that its metrics have besides namespace and pod.
    pub metric_labels: BTreeMap<String, String>,
    /// Its TCP ports that have a name.
    pub named_ports: BTreeMap<String, u16>,
    /// All TCP ports that its containers declare.
    pub ports: BTreeSet<u16>,
    /// The health checks that the kubelet makes.
    pub probes: Vec<Probe>,
    pub runtime_class: Option<String>,
    /// It has a Linkerd sidecar.
    pub sidecar: Option<Sidecar>,
    /// Whether it asks to be meshed, or its owner or namespace does. See [`Pod::obstacle`].
    pub inject: bool,
    /// Whether its node's proxy reports that it serves the pod.
    pub served: bool,
    pub config: PodConfig,
}

/// The proxy of Linkerd that runs in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// The part of its identity before the trust domain. Without it, nothing is known about its identity.
    pub control_plane_namespace: Option<String>,
    /// The port for connections with a transport header.
    pub inbound_port: Option<u16>,
}

/// Why weft cannot mesh a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    HostNetwork,
    RuntimeClass(String),
    LinkerdSidecar,
}

/// A pod by name and uid: a pod that is created again under the same name is another instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instance {
    pub name: Name,
    pub uid: String,
}

/// For each node the pods that its proxy reports as served.
pub type Served = BTreeMap<String, BTreeSet<Instance>>;

/// What a pod depends on besides its own object.
pub(super) struct Surroundings<'a> {
    pub(super) namespace: &'a Annotations,
    pub(super) owners: Owners<'a>,
    pub(super) servers: Option<&'a Servers>,
    pub(super) node_zone: Option<&'a str>,
    pub(super) served: &'a Served,
}

impl Pod {
    /// Returns `None` for a pod that has ended.
    pub(super) fn build(name: Name, pod: &v1::Pod, around: &Surroundings<'_>) -> Option<Self> {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
            return None;
        }
        let own = Annotations::parse(pod.metadata.annotations.as_ref()).0;
        let annotations = around.owners.complete(own).or(around.namespace);
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let ports = containers::ports(spec);
        let mut config = PodConfig::from_annotations(&annotations, &ports.named);
        if let Some(servers) = around.servers {
            servers.apply(&mut config, &labels, &ports.named);
        }
        config.fail_mode = annotations.fail_mode.unwrap_or_else(|| config.default_fail_mode());
        let text = |value: Option<&String>| value.filter(|value| !value.is_empty()).cloned();
        let serves = serves(status);
        let is_deleted = pod.metadata.deletion_timestamp.is_some();
        let sidecar = containers::linkerd_inbound_port(spec).map(|inbound_port| Sidecar {
            control_plane_namespace: labels.get(SIDECAR_LABEL).cloned(),
            inbound_port,
        });
        let mut built = Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: text(spec.and_then(|spec| spec.node_name.as_ref())),
            service_account: text(spec.and_then(|spec| spec.service_account_name.as_ref()))
                .unwrap_or_else(|| "default".into()),
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or_default(),
            ips: ips(status),
            ready: serves && !is_deleted,
            draining: serves && is_deleted,
            hostname: text(spec.and_then(|spec| spec.hostname.as_ref())),
            subdomain: text(spec.and_then(|spec| spec.subdomain.as_ref())),
            zone: zones::of_labels(&pod.metadata).or(around.node_zone).map(str::to_owned),
            metric_labels: around.owners.metric_labels(&pod.metadata),
            probes: containers::probes(spec),
            runtime_class: text(spec.and_then(|spec| spec.runtime_class_name.as_ref())),
            sidecar,
            inject: annotations.inject.unwrap_or_default(),
            served: false,
            name,
            labels,
            named_ports: ports.named,
            ports: ports.all,
            config,
        };
        built.served = built.is_in(around.served);
        Some(built)
    }

    pub fn instance(&self) -> Instance {
        Instance { name: self.name.clone(), uid: self.uid.clone() }
    }

    /// Whether its node's proxy is to serve it.
    pub fn is_meshed(&self) -> bool {
        self.inject && self.obstacle().is_none()
    }

    /// Why weft cannot mesh it, whether it asks for it or not.
    pub fn obstacle(&self) -> Option<Obstacle> {
        if self.sidecar.is_some() {
            return Some(Obstacle::LinkerdSidecar);
        }
        if self.host_network {
            return Some(Obstacle::HostNetwork);
        }
        let has_own_kernel = |class: &&String| {
            let class = class.to_ascii_lowercase();
            OWN_KERNELS.iter().any(|known| class.contains(known))
        };
        let class = self.runtime_class.as_ref().filter(has_own_kernel)?;
        Some(Obstacle::RuntimeClass(class.clone()))
    }

    /// Whether peers can expect mTLS on `port`. Of a pod that weft meshes, they cannot before the proxy serves it: until
    /// then its application itself would receive the ClientHello.
    pub fn serves_tls_on(&self, port: u16) -> bool {
        let has_proxy = match &self.sidecar {
            Some(sidecar) => sidecar.control_plane_namespace.is_some(),
            None => self.is_meshed() && self.served,
        };
        has_proxy && !self.config.skip_inbound_ports.contains(port)
    }

    fn is_in(&self, served: &Served) -> bool {
        let on_node = self.node.as_ref().and_then(|node| served.get(node));
        on_node.is_some_and(|served| served.contains(&self.instance()))
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNetwork => f.write_str("it uses its node's network (hostNetwork)"),
            Self::RuntimeClass(class) => {
                write!(f, "runtime class {class} gives it a kernel of its own")
            }
            Self::LinkerdSidecar => f.write_str("it has a Linkerd sidecar"),
        }
    }
}

/// No condition says that it is not ready.
fn serves(status: Option<&v1::PodStatus>) -> bool {
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
