use std::time::Duration;

use weft_api::node as api;

use super::Spec;
use crate::policy::InboundPolicy;

fn workload() -> api::Workload {
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
    message.port_policies =
        vec![api::PortPolicy { port: 80, policy: api::InboundPolicy::Deny.into(), server: "closed".into() }];
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
    spoil(|w| w.default_inbound_policy = 99, "inbound policy");
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
