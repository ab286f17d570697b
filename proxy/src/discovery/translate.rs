//! Translates the control plane's messages.
//!
//! An invalid message never leads to plaintext: an endpoint whose identity cannot be parsed is left out.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use weft_api::linkerd::{
    destination::{
        DestinationProfile, ProtocolHint, TlsIdentity, WeightedAddr, protocol_hint::Protocol,
        tls_identity::Strategy,
    },
    net::TcpAddress,
    outbound::{OutboundPolicy, proxy_protocol::Kind},
};

use crate::{
    balance::{Endpoint, EndpointTls},
    metrics,
    policy::DeclaredProtocol,
    tls::Identity,
};

#[derive(Debug)]
pub(super) enum Profile {
    Service { authority: String, opaque: bool },
    Endpoint(Endpoint),
    Unknown,
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidEndpoint {
    #[error("no address")]
    Address,
    #[error("invalid port {0}")]
    Port(u32),
    #[error("invalid identity {0:?}")]
    Identity(String),
}

pub(super) fn profile(message: DestinationProfile, port: u16) -> Result<Profile, InvalidEndpoint> {
    if let Some(addr) = message.endpoint {
        let mut endpoint = endpoint(addr, &HashMap::new())?;
        endpoint.opaque |= message.opaque_protocol;
        return Ok(Profile::Endpoint(endpoint));
    }
    if message.fully_qualified_name.is_empty() {
        return Ok(Profile::Unknown);
    }
    let authority = format!("{}:{port}", message.fully_qualified_name);
    Ok(Profile::Service { authority, opaque: message.opaque_protocol })
}

/// What a service declares. Whether it is opaque is not read here: the profile says that.
pub(super) fn declared(message: OutboundPolicy) -> DeclaredProtocol {
    match message.protocol.and_then(|protocol| protocol.kind) {
        Some(Kind::Http1(_)) => DeclaredProtocol::Http1,
        Some(Kind::Http2(_)) => DeclaredProtocol::Http2,
        Some(Kind::Grpc(_)) => DeclaredProtocol::Grpc,
        Some(Kind::Detect(_) | Kind::Opaque(_) | Kind::Tls(_)) | None => DeclaredProtocol::Detect,
    }
}

/// Translates an endpoint. `set_labels` are the labels of all endpoints of its set.
pub(super) fn endpoint(
    message: WeightedAddr,
    set_labels: &HashMap<String, String>,
) -> Result<Endpoint, InvalidEndpoint> {
    let addr = address(message.addr.ok_or(InvalidEndpoint::Address)?)?;
    let hint = message.protocol_hint.unwrap_or_default();
    let mut labels = labels(&message.metric_labels);
    for (name, value) in self::labels(set_labels) {
        labels.entry(name).or_insert(value);
    }
    Ok(Endpoint {
        addr,
        tls: message.tls_identity.map(tls).transpose()?,
        labels: Arc::new(labels),
        weight: message.weight,
        opaque_transport_port: opaque_transport_port(&hint)?,
        takes_http2: matches!(hint.protocol, Some(Protocol::H2(_))),
        opaque: matches!(hint.protocol, Some(Protocol::Opaque(_))),
    })
}

pub(super) fn address(message: TcpAddress) -> Result<SocketAddr, InvalidEndpoint> {
    let port = match u16::try_from(message.port) {
        Ok(port) if port > 0 => port,
        _ => return Err(InvalidEndpoint::Port(message.port)),
    };
    let ip = message.ip.and_then(|ip| IpAddr::try_from(ip).ok()).ok_or(InvalidEndpoint::Address)?;
    Ok(SocketAddr::new(ip, port))
}

/// The labels as they appear in metrics.
pub(super) fn labels(labels: &HashMap<String, String>) -> BTreeMap<String, String> {
    metrics::sanitize("dst_", labels)
}

fn tls(message: TlsIdentity) -> Result<EndpointTls, InvalidEndpoint> {
    let name = match message.strategy {
        Some(Strategy::DnsLikeIdentity(id)) => id.name,
        Some(Strategy::UriLikeIdentity(id)) => id.uri,
        None => return Err(InvalidEndpoint::Identity(String::new())),
    };
    let identity: Identity = name.parse().map_err(|_| InvalidEndpoint::Identity(name.clone()))?;
    let server_name = match message.server_name {
        Some(server_name) if !server_name.name.is_empty() => server_name.name,
        _ => name,
    };
    Ok(EndpointTls { identity, server_name })
}

fn opaque_transport_port(hint: &ProtocolHint) -> Result<Option<u16>, InvalidEndpoint> {
    match hint.opaque_transport.as_ref().map(|transport| transport.inbound_port) {
        None | Some(0) => Ok(None),
        Some(port) => u16::try_from(port).map(Some).map_err(|_| InvalidEndpoint::Port(port)),
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use weft_api::linkerd::destination::tls_identity::DnsLikeIdentity;

    use super::*;

    fn message(port: u32, identity: Option<&str>) -> WeightedAddr {
        WeightedAddr {
            addr: Some(TcpAddress { ip: Some(std::net::Ipv4Addr::new(10, 0, 0, 1).into()), port }),
            weight: 10_000,
            metric_labels: HashMap::from([("pod".to_owned(), "a".to_owned())]),
            tls_identity: identity.map(|name| TlsIdentity {
                strategy: Some(Strategy::DnsLikeIdentity(DnsLikeIdentity { name: name.to_owned() })),
                server_name: None,
            }),
            ..WeightedAddr::default()
        }
    }

    #[test]
    fn an_endpoint_is_translated() {
        let set = HashMap::from([("namespace".to_owned(), "demo".to_owned())]);
        let endpoint = endpoint(message(80, Some("a.demo.cluster.local")), &set).unwrap();
        assert_eq!(endpoint.addr, "10.0.0.1:80".parse().unwrap());
        assert_eq!(endpoint.labels["dst_pod"], "a");
        assert_eq!(endpoint.labels["dst_namespace"], "demo");
        let tls = endpoint.tls.unwrap();
        assert_eq!(
            (tls.identity.as_str(), tls.server_name.as_str()),
            ("a.demo.cluster.local", "a.demo.cluster.local")
        );
    }

    #[test]
    fn an_invalid_endpoint_is_an_error_and_never_plaintext() {
        let none = HashMap::new();
        assert!(matches!(endpoint(WeightedAddr::default(), &none), Err(InvalidEndpoint::Address)));
        assert!(matches!(endpoint(message(0, None), &none), Err(InvalidEndpoint::Port(0))));
        assert!(matches!(endpoint(message(70_000, None), &none), Err(InvalidEndpoint::Port(70_000))));
        assert!(matches!(endpoint(message(80, Some("no name")), &none), Err(InvalidEndpoint::Identity(_))));
        let mut anonymous = message(80, None);
        anonymous.tls_identity = Some(TlsIdentity::default());
        assert!(matches!(endpoint(anonymous, &none), Err(InvalidEndpoint::Identity(_))));
    }
}
