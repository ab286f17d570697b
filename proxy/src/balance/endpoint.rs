//! The endpoint of a destination: its address, identity and labels.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::tls::Identity;

/// An address that serves a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub addr: SocketAddr,
    /// The identity to require by mTLS; `None` means plaintext.
    pub tls: Option<EndpointTls>,
    /// Metric labels, `dst_*`.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Its share of the connections, relative to the other endpoints.
    pub weight: u32,
    /// The port of a Linkerd sidecar that accepts connections with a transport header.
    pub opaque_transport_port: Option<u16>,
    /// Its proxy takes requests of HTTP/1 within HTTP/2.
    pub takes_http2: bool,
    /// Its bytes are forwarded without protocol detection.
    pub opaque: bool,
}

impl Endpoint {
    /// Whether a connection to one endpoint can also be used for the other: same address, identity and proxy.
    pub fn is_reached_like(&self, other: &Endpoint) -> bool {
        self.addr == other.addr
            && self.tls == other.tls
            && self.opaque_transport_port == other.opaque_transport_port
    }

    /// Whether its pod has a Linkerd sidecar that wants requests of HTTP/1 within HTTP/2. A weft proxy does not: HTTP/1
    /// kept alive measures better.
    pub fn wants_http1_in_http2(&self) -> bool {
        self.opaque_transport_port.is_some() && self.takes_http2
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

/// What an endpoint's certificate must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointTls {
    pub identity: Identity,
    /// The SNI to send.
    pub server_name: String,
}
