//! Describes pods and endpoints to one client.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use weft_api::linkerd::{
    destination::{
        ProtocolHint, TlsIdentity, WeightedAddr,
        protocol_hint::{self, OpaqueTransport, Protocol},
        tls_identity::{DnsLikeIdentity, Strategy},
    },
    meta::{Metadata, Resource, metadata},
};

use super::context::Context;
use crate::{
    index::{Cluster, Endpoint, Pod},
    mesh::Mesh,
};

/// The weight that Linkerd gives every address.
const WEIGHT: u32 = 10_000;
/// The tap and admin ports of a Linkerd sidecar.
const SIDECAR_PORTS: [u16; 2] = [4190, 4191];

/// Knows what descriptions depend on: the mesh and the client.
#[derive(Clone, Debug)]
pub(super) struct Describer {
    pub(super) mesh: Arc<Mesh>,
    client: Context,
}

impl Describer {
    pub(super) fn new(mesh: Arc<Mesh>, client: Context) -> Self {
        Self { mesh, client }
    }

    /// The client's zone, if it is known.
    pub(super) fn client_zone(&self, cluster: &Cluster) -> Option<String> {
        cluster.zone_of(&self.client.node_name).map(str::to_owned)
    }

    /// The client's node, if it is known.
    pub(super) fn client_node(&self) -> Option<&str> {
        Some(self.client.node_name.as_str()).filter(|node| !node.is_empty())
    }

    pub(super) fn endpoint(&self, endpoint: &Endpoint, client_zone: Option<&str>) -> WeightedAddr {
        let mut address = self.address(endpoint.addr, endpoint.pod.as_deref());
        add_zone(&mut address, client_zone, endpoint.zone.as_deref());
        address
    }

    /// A pod to which the client connects by its own address.
    pub(super) fn pod(&self, pod: &Arc<Pod>, addr: SocketAddr, client_zone: Option<&str>) -> WeightedAddr {
        let mut address = self.address(addr, Some(pod));
        add_zone(&mut address, client_zone, pod.zone.as_deref());
        // The endpoints of a service have this label on the whole set.
        address.metric_labels.insert("namespace".into(), pod.name.namespace.clone());
        address
    }

    fn address(&self, addr: SocketAddr, pod: Option<&Pod>) -> WeightedAddr {
        let bare = WeightedAddr { addr: Some(addr.into()), weight: WEIGHT, ..WeightedAddr::default() };
        let Some(pod) = pod else { return bare };
        let mut labels: HashMap<String, String> = pod.metric_labels.clone().into_iter().collect();
        labels.insert("pod".into(), pod.name.name.clone());
        labels.insert("serviceaccount".into(), pod.service_account.clone());
        // The control plane of the proxy that the pod has: weft's, or a Linkerd's.
        let control_plane = match &pod.sidecar {
            Some(sidecar) => sidecar.control_plane_namespace.as_deref(),
            None => pod.is_meshed().then_some(self.mesh.control_plane_namespace.as_str()),
        };
        if let Some(namespace) = control_plane {
            labels.insert("control_plane_ns".into(), namespace.to_owned());
        }
        let with_proxy = control_plane.filter(|_| pod.serves_tls_on(addr.port()));
        let name = |control_plane| DnsLikeIdentity {
            name: self.mesh.identity_by(control_plane, &pod.service_account, &pod.name.namespace),
        };
        let identity = with_proxy.map(name).map(|name| TlsIdentity {
            server_name: Some(name.clone()),
            strategy: Some(Strategy::DnsLikeIdentity(name)),
        });
        WeightedAddr {
            metric_labels: labels,
            tls_identity: identity,
            protocol_hint: protocol_hint(pod, addr.port()),
            resource_ref: Some(resource("Pod", &pod.name.namespace, &pod.name.name, addr.port())),
            ..bare
        }
    }
}

/// Which protocol clients should speak to `port`, if there is a reason to prefer one.
fn protocol_hint(pod: &Pod, port: u16) -> Option<ProtocolHint> {
    let protocol = if pod.config.opaque_ports.contains(port) {
        Protocol::Opaque(protocol_hint::Opaque {})
    } else if pod.serves_tls_on(port) {
        // The pod's proxy turns HTTP/2 into the HTTP/1 that the application expects.
        Protocol::H2(protocol_hint::H2 {})
    } else {
        return None;
    };
    // A sidecar's own ports are not reached through its inbound port.
    let sidecar = pod.sidecar.as_ref().filter(|_| pod.serves_tls_on(port) && !SIDECAR_PORTS.contains(&port));
    let inbound_port = sidecar.and_then(|sidecar| sidecar.inbound_port);
    let opaque_transport = inbound_port.map(|port| OpaqueTransport { inbound_port: port.into() });
    Some(ProtocolHint { protocol: Some(protocol), opaque_transport })
}

fn add_zone(address: &mut WeightedAddr, client: Option<&str>, zone: Option<&str>) {
    let locality = match (client, zone) {
        (Some(client), Some(zone)) if client == zone => "local",
        (Some(_), Some(_)) => "remote",
        _ => "unknown",
    };
    address.metric_labels.insert("zone_locality".into(), locality.into());
    if let Some(zone) = zone {
        address.metric_labels.insert("zone".into(), zone.to_owned());
    }
}

/// A reference to a Kubernetes object of the API group `core`.
pub(crate) fn resource(kind: &str, namespace: &str, name: &str, port: u16) -> Metadata {
    Metadata {
        kind: Some(metadata::Kind::Resource(Resource {
            group: "core".into(),
            kind: kind.into(),
            name: name.into(),
            namespace: namespace.into(),
            section: String::new(),
            port: port.into(),
        })),
    }
}
