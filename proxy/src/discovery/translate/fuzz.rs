//! Whatever the control plane sends about a destination is understood, or is an error; an identity is never lost.

use std::collections::HashMap;

use proptest::prelude::*;
use weft_api::linkerd::{
    destination::{
        DestinationProfile, ProtocolHint, TlsIdentity, WeightedAddr,
        protocol_hint::{OpaqueTransport, Protocol},
        tls_identity::{DnsLikeIdentity, Strategy as Named},
    },
    net::TcpAddress,
};

use super::{Profile, endpoint, profile};
use crate::fuzz::{fuzz, protobuf::messages};

fn seed() -> WeightedAddr {
    let name = "web.demo.serviceaccount.identity.linkerd.cluster.local".to_owned();
    WeightedAddr {
        addr: Some(TcpAddress { ip: Some(std::net::Ipv4Addr::new(10, 0, 0, 1).into()), port: 80 }),
        weight: 10_000,
        metric_labels: [("pod".to_owned(), "web".to_owned())].into(),
        tls_identity: Some(TlsIdentity {
            strategy: Some(Named::DnsLikeIdentity(DnsLikeIdentity { name })),
            server_name: None,
        }),
        protocol_hint: Some(ProtocolHint {
            opaque_transport: Some(OpaqueTransport { inbound_port: 4143 }),
            protocol: Some(Protocol::H2(Default::default())),
        }),
        ..WeightedAddr::default()
    }
}

#[test]
fn any_endpoint_is_understood_or_an_error_and_never_plaintext() {
    fuzz("endpoint", &messages(vec![seed()]), |message| {
        let has_identity = message.tls_identity.is_some();
        match endpoint(message, &HashMap::new()) {
            Ok(endpoint) => {
                prop_assert_eq!(endpoint.tls.is_some(), has_identity);
                prop_assert_ne!(endpoint.addr.port(), 0);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
        Ok(())
    });
}

#[test]
fn any_profile_is_understood_or_an_error() {
    let service = DestinationProfile {
        fully_qualified_name: "web.demo.svc.cluster.local".into(),
        opaque_protocol: true,
        ..DestinationProfile::default()
    };
    let pod = DestinationProfile { endpoint: Some(seed()), ..DestinationProfile::default() };
    fuzz("profile", &messages(vec![service, pod]), |message| {
        let (opaque, tls) = (
            message.opaque_protocol,
            message.endpoint.as_ref().is_some_and(|endpoint| endpoint.tls_identity.is_some()),
        );
        match profile(message, 80) {
            Ok(Profile::Endpoint(endpoint)) => {
                prop_assert_eq!(endpoint.tls.is_some(), tls);
                prop_assert!(endpoint.opaque || !opaque);
            }
            Ok(Profile::Service { authority, .. }) => prop_assert!(authority.ends_with(":80")),
            Ok(Profile::Unknown) | Err(_) => {}
        }
        Ok(())
    });
}
