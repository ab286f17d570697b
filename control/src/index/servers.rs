//! Applies Linkerd's Servers to the settings of pods.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    pod_config::{PodConfig, PortPolicy},
    selector,
};
use crate::{
    model::{Key, Server},
    settings::{Policy, Protocol},
};

/// All Servers by namespace, in the order of precedence: where two select the same port of a pod, the older one
/// applies, and of two with the same age the one whose name comes first.
#[derive(Debug, Default)]
pub(super) struct Servers<'a> {
    by_namespace: BTreeMap<&'a str, Vec<(&'a str, &'a Server)>>,
}

impl<'a> Servers<'a> {
    pub(super) fn new(servers: impl Iterator<Item = (&'a Key, &'a Server)>) -> Self {
        let mut by_namespace: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (key, server) in servers {
            by_namespace.entry(key.namespace.as_str()).or_default().push((key.name.as_str(), server));
        }
        for servers in by_namespace.values_mut() {
            servers.sort_by_key(|(name, server)| {
                let created = server.metadata.creation_timestamp.as_ref().map(|time| time.0);
                (created.is_none(), created, *name)
            });
        }
        Self { by_namespace }
    }

    /// Changes the policies, protocols and opaque ports of a pod's settings. A Server overrides annotations.
    pub(super) fn apply(
        &self,
        config: &mut PodConfig,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        named_ports: &BTreeMap<String, u16>,
    ) {
        let mut taken = BTreeSet::new();
        for (name, server) in self.by_namespace.get(namespace).into_iter().flatten() {
            let selector = server.spec.pod_selector.as_ref();
            if !selector.map_or(server.spec.external_workload_selector.is_none(), |selector| {
                selector::matches(selector, labels)
            }) {
                continue;
            }
            let port = match &server.spec.port {
                Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
                Some(IntOrString::String(name)) => named_ports.get(name).copied(),
                None => None,
            };
            let Some(port) = port.filter(|port| taken.insert(*port)) else { continue };
            let policy = server.spec.access_policy.as_deref().and_then(|policy| policy.parse().ok());
            let protocol = server.spec.proxy_protocol.as_deref().and_then(|protocol| protocol.parse().ok());
            let protocol = protocol.unwrap_or_default();
            config.port_policies.retain(|other| other.port != port);
            config.port_policies.push(PortPolicy {
                port,
                policy: policy.unwrap_or(Policy::Deny),
                server: Some((*name).to_owned()),
                protocol,
            });
            config.opaque_ports = config.opaque_ports.with(port, protocol == Protocol::Opaque);
        }
        config.port_policies.sort_by_key(|policy| policy.port);
    }
}
