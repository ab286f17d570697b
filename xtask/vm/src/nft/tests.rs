//! The rules are those of kube-proxy.

use super::*;

fn port(ips: &[&str], protocol: Protocol, port: u16, endpoints: &[&str]) -> ServicePort {
    ServicePort {
        ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        protocol,
        port,
        endpoints: endpoints.iter().map(|ep| ep.parse().unwrap()).collect(),
    }
}

fn sample() -> Vec<ServicePort> {
    vec![
        port(
            &["10.96.0.1", "fd00:10:96::1"],
            Protocol::Tcp,
            80,
            &["10.244.1.2:8080", "10.244.2.2:8081", "[fd00:10:244:1::2]:8080"],
        ),
        port(&["10.96.0.1"], Protocol::Udp, 53, &["10.244.1.2:5353"]),
        port(&["10.96.0.2"], Protocol::Tcp, 80, &[]),
    ]
}

#[test]
fn each_family_goes_to_its_own_endpoints() {
    let text = script(&sample());
    assert!(text.contains("10.96.0.1 . tcp . 80 : goto port0v4"), "{text}");
    assert!(text.contains("fd00:10:96::1 . tcp . 80 : goto port0v6"), "{text}");
    assert!(
        text.contains(
            "chain port0v4 { numgen random mod 2 vmap { 0 : goto port0v4e0, 1 : goto port0v4e1 }; }"
        ),
        "{text}"
    );
    assert!(text.contains("chain port0v4e1 { meta l4proto tcp dnat ip to 10.244.2.2:8081; }"), "{text}");
    assert!(
        text.contains("chain port0v6e0 { meta l4proto tcp dnat ip6 to [fd00:10:244:1::2]:8080; }"),
        "{text}"
    );
    assert!(text.contains("10.96.0.1 . udp . 53 : goto port1v4"), "{text}");
}

#[test]
fn a_service_without_endpoints_is_refused() {
    let text = script(&sample());
    assert!(!text.contains("10.96.0.2 . tcp"), "{text}");
    assert!(text.contains("set addresses4 { type ipv4_addr\nelements = { 10.96.0.1, 10.96.0.2 }"), "{text}");
}

#[test]
fn the_old_rules_go_in_the_same_transaction() {
    let text = script(&[]);
    assert!(text.starts_with("add table inet weft\ndelete table inet weft\ntable inet weft {"), "{text}");
    assert!(!text.contains("elements"), "{text}");
}

#[test]
fn two_services_that_claim_one_address_do_not_break_the_script() {
    let text = script(&[
        port(&["10.96.0.1"], Protocol::Tcp, 80, &["10.244.1.2:1"]),
        port(&["10.96.0.1"], Protocol::Tcp, 80, &["10.244.1.3:1"]),
    ]);
    assert_eq!(text.matches("10.96.0.1 . tcp . 80").count(), 1, "{text}");
}
