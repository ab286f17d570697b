use std::time::Duration;

use weft_api::node as api;

use super::Spec;
use crate::{
    policy::{DeclaredProtocol, InboundPolicy},
    workload::AccessLogFormat,
};

pub(super) fn workload() -> api::Workload {
    api::Workload {
        r#ref: Some(api::WorkloadRef { namespace: "demo".into(), name: "web".into(), uid: "1".into() }),
        identity: "web.demo.serviceaccount.identity.linkerd.cluster.local".into(),
        ips: vec!["10.0.0.1".into(), "fd00::1".into()],
        default_inbound_policy: api::InboundPolicy::AllAuthenticated.into(),
        fail_mode: api::FailMode::Closed.into(),
        ..api::Workload::default()
    }
}

#[test]
fn everything_is_understood() {
    let mut message = workload();
    message.port_policies = vec![api::PortPolicy {
        port: 80,
        policy: api::InboundPolicy::Deny.into(),
        server: "closed".into(),
        protocol: api::Protocol::Http2.into(),
        authorizations: Vec::new(),
    }];
    message.access_log = api::AccessLog::Json.into();
    message.outbound_detect_timeout_disabled = true;
    message.skip_inbound_ports = vec![api::PortRange { start: 4567, end: 4568 }];
    message.skip_subnets = vec!["192.168.0.0/16".into()];
    message.outbound_connect_timeout_ms = 250;
    let spec = Spec::try_from(message).unwrap();
    assert_eq!(spec.key.to_string(), "demo/web");
    assert!(!spec.config.fail_open && !spec.kernel.fail_open);
    assert_eq!(spec.kernel.ips.len(), 2);
    assert_eq!(spec.config.policies.port(80).policy, InboundPolicy::Deny);
    assert_eq!(spec.config.policies.port(81).policy, InboundPolicy::AllAuthenticated);
    assert_eq!(spec.config.outbound_connect_timeout, Duration::from_millis(250));
    assert_eq!(spec.config.inbound_connect_timeout, super::INBOUND_CONNECT_TIMEOUT);
    assert_eq!(spec.kernel.skip_inbound[0].end, 4568);
    assert_eq!(spec.config.access_log, Some(AccessLogFormat::Json));
    assert!(spec.config.outbound_detect_timeout_disabled && !spec.config.inbound_detect_timeout_disabled);
    assert_eq!(spec.config.inbound_protocol(80), DeclaredProtocol::Http2);
    assert_eq!(Spec::try_from(workload()).unwrap().config.access_log, None);
}

#[test]
fn a_port_is_opaque_if_the_workload_or_its_policy_says_so() {
    let port = |port, protocol: api::Protocol| api::PortPolicy {
        port,
        policy: api::InboundPolicy::AllUnauthenticated.into(),
        server: "server".into(),
        protocol: protocol.into(),
        authorizations: Vec::new(),
    };
    let mut message = workload();
    message.opaque_ports = vec![api::PortRange { start: 100, end: 110 }];
    message.port_policies = vec![
        port(80, api::Protocol::Opaque),
        port(81, api::Protocol::Unspecified),
        port(82, api::Protocol::Http1),
        port(83, api::Protocol::Grpc),
        port(84, api::Protocol::Tls),
        port(110, api::Protocol::Http1),
    ];
    let config = Spec::try_from(message).unwrap().config;
    for (port, expected) in [
        (79, DeclaredProtocol::Detect),
        (80, DeclaredProtocol::Opaque),
        (81, DeclaredProtocol::Detect),
        (82, DeclaredProtocol::Http1),
        (83, DeclaredProtocol::Grpc),
        (84, DeclaredProtocol::Tls),
        (99, DeclaredProtocol::Detect),
        (100, DeclaredProtocol::Opaque),
        (110, DeclaredProtocol::Opaque),
        (111, DeclaredProtocol::Detect),
    ] {
        assert_eq!(config.inbound_protocol(port), expected, "{port}");
    }
}

#[test]
fn a_bad_message_says_what_is_wrong_with_whom() {
    let spoil = |spoil: fn(&mut api::Workload), expected: &str| {
        let mut message = workload();
        spoil(&mut message);
        let error = Spec::try_from(message).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    spoil(|w| w.identity = "no identity".into(), "workload demo/web: identity");
    spoil(|w| w.ips.push("10.0.0".into()), "ips \"10.0.0\"");
    spoil(|w| w.skip_subnets.push("10.0.0.0/40".into()), "skip_subnets");
    spoil(|w| w.skip_outbound_ports.push(api::PortRange { start: 9, end: 8 }), "skip_outbound_ports");
    spoil(|w| w.skip_outbound_ports.push(api::PortRange { start: 1, end: 70_000 }), "skip_outbound_ports");
    spoil(|w| w.opaque_ports.push(api::PortRange { start: 0, end: 8 }), "opaque_ports");
    spoil(|w| w.default_inbound_policy = 99, "inbound policy");
    spoil(|w| w.access_log = 99, "access_log 99 is not valid: no such format");
    spoil(
        |w| {
            w.port_policies.push(api::PortPolicy {
                port: 80,
                policy: api::InboundPolicy::Deny.into(),
                protocol: 99,
                ..api::PortPolicy::default()
            });
        },
        "no such protocol",
    );
    spoil(|w| w.r#ref = None, "ref");
}

#[test]
fn a_change_of_terms_is_the_same_pod_and_a_new_address_is_not() {
    let spec = Spec::try_from(workload()).unwrap();
    let mut message = workload();
    message.default_inbound_policy = api::InboundPolicy::Deny.into();
    assert!(spec.same_pod(&Spec::try_from(message).unwrap()));
    let mut message = workload();
    message.ips.pop();
    assert!(!spec.same_pod(&Spec::try_from(message).unwrap()));
    let mut message = workload();
    message.r#ref.as_mut().unwrap().uid = "2".into();
    assert!(!spec.same_pod(&Spec::try_from(message).unwrap()));
}
