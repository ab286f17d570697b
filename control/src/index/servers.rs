//! Linkerd's Servers of a namespace, with their authorizations, and what they change in the settings of pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString};

use super::{
    authorization::{self, Authorization},
    pod_config::{PodConfig, PortPolicy},
    selector,
    store::Store,
};
use crate::{
    model::{Kind, Object, ServerSpec},
    settings::{Policy, Protocol},
};

/// In the order of precedence: where two Servers select the same port of a pod, the older one applies, and of two with
/// the same age the one whose name comes first.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Servers {
    servers: Vec<Server>,
}

#[derive(Debug, PartialEq)]
struct Server {
    name: String,
    /// `None` selects nothing.
    selector: Option<LabelSelector>,
    port: Option<IntOrString>,
    policy: Policy,
    protocol: Protocol,
    authorizations: Arc<[Authorization]>,
}

impl Servers {
    pub(super) fn of_namespace(namespace: &str, store: &Store) -> Self {
        let mut servers: Vec<_> = store
            .in_namespace(Kind::Server, namespace)
            .filter_map(|(key, object)| match object {
                Object::Server(server) => Some((key, &**server)),
                _ => None,
            })
            .collect();
        servers.sort_by_key(|(key, server)| {
            let created = server.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created.is_none(), created, &key.name)
        });
        let build = |(key, server): (_, &crate::model::Server)| {
            let authorizations = authorization::of_server((key, server), store);
            Server::build(&key.name, &server.spec, authorizations.into())
        };
        Self { servers: servers.into_iter().map(build).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Whether a Server selects pods with these labels.
    pub(super) fn select(&self, labels: &BTreeMap<String, String>) -> bool {
        self.servers.iter().any(|server| server.selects(labels))
    }

    /// Changes the policies, protocols and opaque ports of a pod's settings. A Server overrides annotations.
    pub(super) fn apply(
        &self,
        config: &mut PodConfig,
        labels: &BTreeMap<String, String>,
        named_ports: &BTreeMap<String, u16>,
    ) {
        let mut taken = BTreeSet::new();
        for server in self.servers.iter().filter(|server| server.selects(labels)) {
            let port = match &server.port {
                Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
                Some(IntOrString::String(name)) => named_ports.get(name).copied(),
                None => None,
            };
            let Some(port) = port.filter(|port| taken.insert(*port)) else { continue };
            config.port_policies.retain(|other| other.port != port);
            config.port_policies.push(PortPolicy {
                port,
                policy: server.policy,
                server: Some(server.name.clone()),
                protocol: server.protocol,
                authorizations: server.authorizations.clone(),
            });
            config.opaque_ports = config.opaque_ports.with(port, server.protocol == Protocol::Opaque);
        }
        config.port_policies.sort_by_key(|policy| policy.port);
    }
}

impl Server {
    fn build(name: &str, spec: &ServerSpec, authorizations: Arc<[Authorization]>) -> Self {
        let selector = match (&spec.pod_selector, &spec.external_workload_selector) {
            (Some(selector), _) => Some(selector.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(LabelSelector::default()),
        };
        let policy = spec.access_policy.as_deref().and_then(|policy| policy.parse().ok());
        let protocol = spec.proxy_protocol.as_deref().and_then(|protocol| protocol.parse().ok());
        Self {
            name: name.to_owned(),
            selector,
            port: spec.port.clone(),
            policy: policy.unwrap_or(Policy::Deny),
            protocol: protocol.unwrap_or_default(),
            authorizations,
        }
    }

    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector::matches(selector, labels))
    }
}
