//! What is an endpoint?

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::tls::Identity;

/// An address that serves a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub addr: SocketAddr,
    /// How it is to be spoken to: mTLS with this identity, or (`None`) plaintext.
    pub tls: Option<EndpointTls>,
    /// Its metric labels, `dst_*`.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Its share relative to others'.
    pub weight: u32,
    /// The port where a Linkerd sidecar takes connections behind a transport header.
    pub opaque_transport_port: Option<u16>,
    /// Its bytes are to be forwarded as they are.
    pub opaque: bool,
}

impl Endpoint {
    /// Whether a connection that is being made to one would be as good for the other.
    pub fn is_reached_like(&self, other: &Endpoint) -> bool {
        self.addr == other.addr && self.tls == other.tls
    }

    /// Whether both are addresses of one pod.
    pub fn is_same_pod(&self, other: &Endpoint) -> bool {
        let pod = |endpoint: &Endpoint| {
            let label = |name| endpoint.labels.get(name).cloned();
            label("dst_pod").map(|pod| (label("dst_namespace"), pod))
        };
        pod(self).is_some() && pod(self) == pod(other)
    }
}

/// Who an endpoint must prove to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointTls {
    /// The identity that its certificate must hold.
    pub identity: Identity,
    /// What to send as SNI.
    pub server_name: String,
}
