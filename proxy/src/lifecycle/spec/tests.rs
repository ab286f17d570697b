//! Checks that the control plane's messages are understood, and that bad ones say what is wrong.

use std::time::Duration;

use weft_api::node as api;

use super::Spec;
use crate::{
    metrics::AuthorizationLabels,
    policy::{Client, Decision, DeclaredProtocol, DenyReason},
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
    let stranger = Client { ip: "10.0.0.9".parse().unwrap(), identity: None };
    for (port, reason) in [(80, DenyReason::Denied), (81, DenyReason::Unauthenticated)] {
        let decision = spec.config.policies.port(port).authorize(stranger, &[]);
        assert_eq!(decision, Decision::Deny(reason), "{port}");
    }
    assert_eq!(spec.config.outbound_connect_timeout, Duration::from_millis(250));
    assert_eq!(spec.config.inbound_connect_timeout, super::message::INBOUND_CONNECT_TIMEOUT);
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
    spoil(|w| w.default_inbound_policy = 99, "default_inbound_policy 99 is not valid: no such policy");
    spoil(
        |w| {
            let secret = "x".repeat(10_000);
            w.port_policies = vec![api::PortPolicy { port: 70_000, server: secret, ..Default::default() }];
        },
        "x…",
    );
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

/// Lets in the service account `api` from 10.0.0.0/8, without 10.1.0.0/16.
pub(super) fn authorization() -> api::Authorization {
    let network = api::Network { cidr: "10.0.0.0/8".into(), except: vec!["10.1.0.0/16".into()] };
    api::Authorization {
        group: "policy.linkerd.io".into(),
        kind: "authorizationpolicy".into(),
        name: "only-api".into(),
        networks: vec![network],
        client: Some(api::authorization::Client::Identities(api::Identities {
            names: vec!["api.demo.serviceaccount.identity.linkerd.cluster.local".into()],
            suffixes: vec![".prod.serviceaccount.identity.linkerd.cluster.local".into()],
        })),
    }
}

pub(super) fn guarded(authorization: api::Authorization) -> api::PortPolicy {
    api::PortPolicy {
        port: 80,
        policy: api::InboundPolicy::Deny.into(),
        server: "web".into(),
        protocol: api::Protocol::Unspecified.into(),
        authorizations: vec![authorization],
    }
}

#[test]
fn authorizations_and_health_checks_are_understood() {
    let mut message = workload();
    message.port_policies = vec![guarded(authorization())];
    let probe = |port, path: &str, tls| api::Probe { port, path: path.into(), tls };
    message.probes = vec![probe(80, "/ready", false), probe(443, "/ready", true), probe(81, "", false)];
    let policies = Spec::try_from(message).unwrap().config.policies;
    let decide = |ip: &str, identity: &str| {
        let identity = format!("{identity}.serviceaccount.identity.linkerd.cluster.local").parse().unwrap();
        policies.port(80).authorize(Client { ip: ip.parse().unwrap(), identity: Some(&identity) }, &[])
    };
    let by = AuthorizationLabels {
        group: "policy.linkerd.io".into(),
        kind: "authorizationpolicy".into(),
        name: "only-api".into(),
    };
    assert_eq!(decide("10.0.0.9", "api.demo").allowed().as_deref(), Ok(&by));
    assert_eq!(decide("10.0.0.9", "any.prod").allowed().as_deref(), Ok(&by));
    assert_eq!(decide("10.1.0.9", "api.demo"), Decision::Deny(DenyReason::NotAuthorized));
    assert_eq!(decide("10.0.0.9", "web.demo"), Decision::Deny(DenyReason::NotAuthorized));
    assert!(policies.probes().is_request(80, "GET", "/ready"));
    assert!(policies.probes().is_over_tls(443) && !policies.probes().is_request(443, "GET", "/ready"));
    assert!(!policies.probes().is_request(81, "GET", "/"));
}

#[test]
fn a_bad_authorization_or_health_check_names_the_field() {
    let spoil = |spoil: fn(&mut api::Authorization), expected: &str| {
        let mut message = workload();
        let mut bad = authorization();
        spoil(&mut bad);
        message.port_policies = vec![guarded(bad)];
        let error = Spec::try_from(message).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("demo/web"), "{error}");
    };
    let names = |names: &[&str], suffixes: &[&str]| {
        let all = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        Some(api::authorization::Client::Identities(api::Identities {
            names: all(names),
            suffixes: all(suffixes),
        }))
    };
    spoil(
        |a| a.networks[0].cidr = "10.0.0.0/33".into(),
        "networks.cidr \"10.0.0.0/33\" is not valid: not a CIDR",
    );
    spoil(|a| a.networks[0].cidr = String::new(), "networks.cidr");
    spoil(|a| a.networks[0].except.push("10.0.0".into()), "networks.except \"10.0.0\"");
    spoil(|a| a.client = None, "which clients it lets in");
    spoil(|a| a.name = String::new(), "a kind and a name");
    let spoil_clients = |clients, expected: &str| {
        let mut message = workload();
        message.port_policies = vec![guarded(api::Authorization { client: clients, ..authorization() })];
        let error = Spec::try_from(message).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    spoil_clients(names(&[""], &[]), "identities.names");
    for suffix in ["", ".", "demo.serviceaccount"] {
        spoil_clients(names(&[], &[suffix]), "begins with a dot");
    }
    for port in [0, 65_536] {
        let mut message = workload();
        message.probes = vec![api::Probe { port, path: "/".into(), tls: false }];
        let error = Spec::try_from(message).unwrap_err().to_string();
        assert!(error.contains("probes") && error.contains("not a port"), "{error}");
    }
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
