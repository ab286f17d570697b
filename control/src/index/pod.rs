//! What is a pod to the mesh?

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;
use k8s_openapi::api::core::v1;
use serde::{Deserialize, Serialize};

use super::{Name, owner::metric_labels, servers::Servers};
use crate::settings::{Annotations, FailMode, Policy, PortNames, PortRange, PortSet};

/// Linkerd's default opaque ports: server-first protocols that no detection should wait for.
pub(crate) const OPAQUE_PORTS: [u16; 8] = [25, 587, 3306, 4444, 5432, 6379, 9300, 11211];
/// Linkerd's default for `skip-inbound-ports` and `skip-outbound-ports` (database clusters' own traffic).
const SKIPPED_PORTS: [u16; 2] = [4567, 4568];

/// A pod that runs or may run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // what they say in Kubernetes
pub struct Pod {
    pub name: Name,
    pub uid: String,
    pub node: Option<String>,
    pub service_account: String,
    pub host_network: bool,
    pub ips: Vec<IpAddr>,
    /// Ready to serve: not told otherwise, and not about to go.
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
    /// Whether it asks to join the mesh; a pod in its node's network cannot.
    pub inject: bool,
    /// Whether the node's proxy says that it serves it.
    pub served: bool,
    pub config: PodConfig,
}

/// One life of a pod: a successor of the same name has another uid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Instance {
    pub name: Name,
    pub uid: String,
}

/// What weft is to do with a pod's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PodConfig {
    pub default_policy: Policy,
    pub port_policies: Vec<PortPolicy>,
    pub opaque_ports: PortSet,
    pub skip_inbound_ports: PortSet,
    pub skip_outbound_ports: PortSet,
    pub skip_subnets: Vec<IpNet>,
    pub outbound_connect_timeout: Option<Duration>,
    pub inbound_connect_timeout: Option<Duration>,
    pub fail_mode: FailMode,
    pub direct_pass: bool,
    pub splice_ports: PortSet,
    pub netns: Option<String>,
}

/// The policy of one port where it is not the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPolicy {
    /// The port.
    pub port: u16,
    /// Who may connect.
    pub policy: Policy,
    /// The Server that says so; without one it is an annotation.
    pub server: Option<String>,
}

impl Pod {
    /// A pod as the mesh sees it; none if it has ended.
    pub(super) fn build(
        name: Name,
        pod: &v1::Pod,
        namespace: &Annotations,
        servers: &Servers,
    ) -> Option<Self> {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
            return None;
        }
        let annotations = Annotations::parse(pod.metadata.annotations.as_ref()).0.or(namespace);
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let (named_ports, ports) = ports(spec);
        let text = |value: Option<&String>| value.filter(|value| !value.is_empty()).cloned();
        let mut built = Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: text(spec.and_then(|spec| spec.node_name.as_ref())),
            service_account: text(spec.and_then(|spec| spec.service_account_name.as_ref()))
                .unwrap_or_else(|| "default".into()),
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or_default(),
            ips: ips(status),
            ready: pod.metadata.deletion_timestamp.is_none() && is_ready(status),
            hostname: text(spec.and_then(|spec| spec.hostname.as_ref())),
            subdomain: text(spec.and_then(|spec| spec.subdomain.as_ref())),
            zone: labels.get("topology.kubernetes.io/zone").cloned(),
            metric_labels: metric_labels(&pod.metadata),
            inject: annotations.inject.unwrap_or_default(),
            served: false,
            config: PodConfig::build(&annotations, &named_ports),
            name,
            labels,
            named_ports,
            ports,
        };
        servers.apply(&mut built);
        built.config.fail_mode = annotations.fail_mode.unwrap_or_else(|| built.config.default_fail_mode());
        Some(built)
    }

    /// This life of the pod.
    pub fn instance(&self) -> Instance {
        Instance { name: self.name.clone(), uid: self.uid.clone() }
    }

    /// Whether the node's proxy is to serve it.
    pub fn is_meshed(&self) -> bool {
        self.inject && !self.host_network
    }

    /// Whether the node's proxy takes part in connections to `port`, so that a peer can expect mTLS there. A pod that
    /// is only about to join would take a ClientHello for its application's data.
    pub fn serves_tls_on(&self, port: u16) -> bool {
        self.is_meshed() && self.served && !self.config.skip_inbound_ports.contains(port)
    }
}

impl PodConfig {
    fn build(annotations: &Annotations, named_ports: &BTreeMap<String, u16>) -> Self {
        let require_identity = annotations.require_identity_ports.iter().flat_map(PortSet::ports);
        let annotated = |port| PortPolicy { port, policy: Policy::AllAuthenticated, server: None };
        Self {
            default_policy: annotations.default_inbound_policy.unwrap_or_default(),
            port_policies: require_identity.map(annotated).collect(),
            opaque_ports: opaque_ports(annotations, |name| named_ports.get(name).copied()),
            skip_inbound_ports: skipped(annotations.skip_inbound_ports.as_ref()),
            skip_outbound_ports: skipped(annotations.skip_outbound_ports.as_ref()),
            skip_subnets: annotations.skip_subnets.clone().unwrap_or_default(),
            outbound_connect_timeout: annotations.outbound_connect_timeout,
            inbound_connect_timeout: annotations.inbound_connect_timeout,
            fail_mode: FailMode::Open,
            direct_pass: annotations.direct_pass.unwrap_or(true),
            splice_ports: annotations.splice_ports.clone().unwrap_or_default(),
            netns: annotations.netns.clone(),
        }
    }

    fn default_fail_mode(&self) -> FailMode {
        let strict = self.default_policy.needs_proxy()
            || self.port_policies.iter().any(|port_policy| port_policy.policy.needs_proxy());
        if strict { FailMode::Closed } else { FailMode::Open }
    }
}

/// The opaque ports that annotations mean, where `lookup` knows the names of ports.
pub(super) fn opaque_ports(annotations: &Annotations, lookup: impl Fn(&str) -> Option<u16>) -> PortSet {
    match &annotations.opaque_ports {
        Some(ports) => PortNames::resolve(ports, lookup),
        None => OPAQUE_PORTS.map(PortRange::one).into_iter().collect(),
    }
}

fn skipped(ports: Option<&PortSet>) -> PortSet {
    ports.cloned().unwrap_or_else(|| SKIPPED_PORTS.map(PortRange::one).into_iter().collect())
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
