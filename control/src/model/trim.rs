//! Removes from objects what weft does not read, so that the index of a large cluster stays small.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{
            Container, ContainerPort, EnvVar, Pod, PodCondition, PodSpec, PodStatus, Probe, ServiceStatus,
        },
        discovery::v1::Endpoint,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{key::Kind, object::Object};

/// The container that makes a pod one with a Linkerd sidecar.
pub const LINKERD_CONTAINER: &str = "linkerd-proxy";
/// The environment variable that names the sidecar's inbound port, as in `0.0.0.0:4143`.
pub const LINKERD_INBOUND_ADDR: &str = "LINKERD2_PROXY_INBOUND_LISTEN_ADDR";

const ANNOTATION_PREFIXES: [&str; 4] =
    ["linkerd.io/", "config.linkerd.io/", "config.weft.dev/", "viz.linkerd.io/"];

impl Object {
    /// The object without what weft does not read. Sources pass on only trimmed objects.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        let kind = self.kind();
        match &mut self {
            Self::Namespace(object) => {
                object.spec = None;
                object.status = None;
            }
            Self::ServiceAccount(object) => {
                object.image_pull_secrets = None;
                object.secrets = None;
            }
            Self::Service(object) => object.status = None::<ServiceStatus>,
            Self::EndpointSlice(object) => {
                object.endpoints.iter_mut().for_each(endpoint);
                object.endpoints.shrink_to_fit();
            }
            Self::Pod(object) => pod(object),
            Self::MetadataOnly(..)
            | Self::Server(_)
            | Self::ServerAuthorization(_)
            | Self::AuthorizationPolicy(_)
            | Self::MeshTLSAuthentication(_)
            | Self::NetworkAuthentication(_) => {}
        }
        metadata(kind, self.metadata_mut());
        self
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Namespace(object) => &mut object.metadata,
            Self::ServiceAccount(object) => &mut object.metadata,
            Self::Service(object) => &mut object.metadata,
            Self::EndpointSlice(object) => &mut object.metadata,
            Self::Pod(object) => &mut object.metadata,
            Self::MetadataOnly(_, metadata) => metadata,
            Self::Server(object) => &mut object.metadata,
            Self::ServerAuthorization(object) => &mut object.metadata,
            Self::AuthorizationPolicy(object) => &mut object.metadata,
            Self::MeshTLSAuthentication(object) => &mut object.metadata,
            Self::NetworkAuthentication(object) => &mut object.metadata,
        }
    }
}

fn metadata(kind: Kind, metadata: &mut ObjectMeta) {
    let mut annotations = metadata.annotations.take().unwrap_or_default();
    annotations.retain(|name, _| ANNOTATION_PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    let mut labels = metadata.labels.take().unwrap_or_default();
    labels.retain(|name, _| match kind {
        // Selectors may name any label of these.
        Kind::Pod | Kind::Server => true,
        Kind::EndpointSlice => name == "kubernetes.io/service-name",
        // The dashboard lists extensions.
        Kind::Namespace => name == "linkerd.io/extension",
        Kind::Node => name.starts_with("topology.kubernetes.io/"),
        _ => false,
    });
    let some = |map: BTreeMap<String, String>| (!map.is_empty()).then_some(map);
    let owner = |owner: OwnerReference| OwnerReference { block_owner_deletion: None, ..owner };
    let owners_of = |owners: Vec<OwnerReference>| exact(owners.into_iter().map(owner));
    let owners = metadata.owner_references.take().unwrap_or_default();
    *metadata = ObjectMeta {
        name: metadata.name.take(),
        namespace: metadata.namespace.take(),
        uid: metadata.uid.take(),
        annotations: some(annotations),
        labels: some(labels),
        owner_references: (!owners.is_empty()).then(|| owners_of(owners)),
        creation_timestamp: metadata.creation_timestamp.take(),
        deletion_timestamp: metadata.deletion_timestamp.take(),
        ..ObjectMeta::default()
    };
}

/// Without the room for more that a list has after it was read: it can be several times what the list needs.
fn exact<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = items.collect();
    all.shrink_to_fit();
    all
}

fn endpoint(endpoint: &mut Endpoint) {
    endpoint.deprecated_topology = None;
    endpoint.addresses.shrink_to_fit();
    if let Some(target) = &mut endpoint.target_ref {
        target.resource_version = None;
        target.uid = None;
        target.api_version = None;
        target.field_path = None;
    }
}

fn pod(pod: &mut Pod) {
    let spec = pod.spec.take().unwrap_or_default();
    let is_sidecar = |container: &Container| {
        container.restart_policy.as_deref() == Some("Always") || container.name == LINKERD_CONTAINER
    };
    let sidecars = spec.init_containers.into_iter().flatten().filter(is_sidecar);
    let sidecars = exact(sidecars.map(container));
    pod.spec = Some(PodSpec {
        containers: exact(spec.containers.into_iter().map(container)),
        init_containers: (!sidecars.is_empty()).then_some(sidecars),
        host_network: spec.host_network,
        hostname: spec.hostname,
        node_name: spec.node_name,
        runtime_class_name: spec.runtime_class_name,
        service_account_name: spec.service_account_name,
        subdomain: spec.subdomain,
        ..PodSpec::default()
    });
    let status = pod.status.take().unwrap_or_default();
    let conditions = status.conditions.into_iter().flatten().filter(|condition| condition.type_ == "Ready");
    let condition = |condition: PodCondition| PodCondition {
        status: condition.status,
        type_: condition.type_,
        ..PodCondition::default()
    };
    let conditions = exact(conditions.map(condition));
    pod.status = Some(PodStatus {
        conditions: (!conditions.is_empty()).then_some(conditions),
        phase: status.phase,
        pod_ip: status.pod_ip,
        pod_ips: status.pod_ips.map(|ips| exact(ips.into_iter())),
        start_time: status.start_time,
        ..PodStatus::default()
    });
}

fn container(container: Container) -> Container {
    let is_linkerd = container.name == LINKERD_CONTAINER;
    let used = |variable: &EnvVar| is_linkerd && variable.name == LINKERD_INBOUND_ADDR;
    let env = exact(container.env.into_iter().flatten().filter(used));
    let port = |port: ContainerPort| ContainerPort { host_ip: None, host_port: None, ..port };
    Container {
        env: (!env.is_empty()).then_some(env),
        ports: container.ports.map(|ports| exact(ports.into_iter().map(port))),
        liveness_probe: container.liveness_probe.and_then(probe),
        readiness_probe: container.readiness_probe.and_then(probe),
        startup_probe: container.startup_probe.and_then(probe),
        name: container.name,
        restart_policy: container.restart_policy,
        ..Container::default()
    }
}

/// A probe over the network; a command in the container does not concern weft.
fn probe(probe: Probe) -> Option<Probe> {
    let is_used = probe.grpc.is_some() || probe.http_get.is_some() || probe.tcp_socket.is_some();
    let mut http_get = probe.http_get;
    if let Some(get) = &mut http_get {
        get.http_headers = None;
    }
    is_used.then(|| Probe { grpc: probe.grpc, http_get, tcp_socket: probe.tcp_socket, ..Probe::default() })
}
