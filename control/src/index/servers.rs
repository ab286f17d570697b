//! What do Linkerd's Servers change about a pod's ports?

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    pod::{Pod, PortPolicy},
    selector,
};
use crate::{manifests::Server, settings::Policy};

/// All Servers, by namespace; where two choose the same port of a pod, the older one holds, then the one whose name
/// comes first.
#[derive(Debug, Default)]
pub(super) struct Servers<'a> {
    by_namespace: BTreeMap<&'a str, Vec<(&'a str, &'a Server)>>,
}

impl<'a> Servers<'a> {
    pub(super) fn new(servers: impl Iterator<Item = (&'a str, &'a str, &'a Server)>) -> Self {
        let mut by_namespace: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (namespace, name, server) in servers {
            by_namespace.entry(namespace).or_default().push((name, server));
        }
        for servers in by_namespace.values_mut() {
            servers.sort_by_key(|(name, server)| {
                let created = server.metadata.creation_timestamp.as_ref().map(|time| time.0);
                (created.is_none(), created, *name)
            });
        }
        Self { by_namespace }
    }

    /// Changes the policies and opaque ports of `pod`. A Server overrides the annotations.
    pub(super) fn apply(&self, pod: &mut Pod) {
        let mut taken = BTreeSet::new();
        let servers =
            self.by_namespace.get(pod.name.namespace.as_str()).map(Vec::as_slice).unwrap_or_default();
        for (name, server) in servers {
            let selector = server.spec.pod_selector.as_ref();
            if !selector.is_none_or(|selector| selector::matches(selector, &pod.labels)) {
                continue;
            }
            let port = match &server.spec.port {
                Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
                Some(IntOrString::String(name)) => pod.named_ports.get(name).copied(),
                None => None,
            };
            let Some(port) = port.filter(|port| taken.insert(*port)) else { continue };
            let policy = server.spec.access_policy.as_deref().and_then(|policy| policy.parse().ok());
            pod.config.port_policies.retain(|other| other.port != port);
            pod.config.port_policies.push(PortPolicy {
                port,
                policy: policy.unwrap_or(Policy::Deny),
                server: Some((*name).to_owned()),
            });
            let is_opaque = server.spec.proxy_protocol.as_deref() == Some("opaque");
            pod.config.opaque_ports = pod.config.opaque_ports.with(port, is_opaque);
        }
        pod.config.port_policies.sort_by_key(|policy| policy.port);
    }
}
