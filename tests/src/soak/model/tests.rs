//! Checks which outcomes the model takes for violations.

use super::*;
use crate::soak::testbed::TEST_PODS;

fn named(name: &str) -> Option<TestPod> {
    TEST_PODS.into_iter().find(|test_pod| test_pod.name == name)
}

fn connection(source: &str, destination: &str, result: io::Result<u64>) -> Connection {
    Connection {
        id: 7,
        kind: "test",
        source: named(source).unwrap(),
        destinations: vec![named(destination).unwrap()],
        port: 1,
        begun: Instant::now(),
        answered: true,
        result,
    }
}

fn failed(kind: io::ErrorKind) -> io::Result<u64> {
    Err(kind.into())
}

/// Whether the model reports a violation.
fn is_violation(model: &Model, connection: Connection) -> bool {
    let before = model.state().violations.len();
    model.check(connection);
    model.state().violations.len() > before
}

#[test]
fn a_failure_needs_a_fault_while_the_connection_is_open() {
    let model = Model::default();
    let reset = || connection("stable-a", "stable-b", failed(io::ErrorKind::ConnectionReset));
    assert!(is_violation(&model, reset()));
    model.begin(Fault::Proxy("b"));
    assert!(!is_violation(&model, reset()));
    let during = reset();
    model.end(&Fault::Proxy("b"));
    assert!(!is_violation(&model, during), "it began before the fault ended");
    assert!(is_violation(&model, reset()));
    model.begin(Fault::Pod("replaced-a"));
    model.begin(Fault::Wire);
    assert!(!is_violation(&model, reset()));
    assert!(is_violation(
        &model,
        connection("stable-a", "guarded-a", failed(io::ErrorKind::ConnectionReset))
    ));
}

#[test]
fn wrong_bytes_and_early_ends_are_always_violations() {
    let model = Model::default();
    model.begin(Fault::Proxy("b"));
    model.begin(Fault::Pod("stable-b"));
    for kind in [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof] {
        assert!(is_violation(&model, connection("stable-a", "stable-b", failed(kind))));
    }
    model.end(&Fault::Pod("stable-b"));
    // A killed proxy resets its connections, so nobody may wait.
    assert!(is_violation(&model, connection("stable-a", "stable-b", failed(io::ErrorKind::WouldBlock))));
}

#[test]
fn denied_clients_must_not_be_answered() {
    let model = Model::default();
    assert!(is_violation(&model, connection("unmeshed", "guarded-b", Ok(1))));
    assert!(!is_violation(
        &model,
        connection("unmeshed", "guarded-b", failed(io::ErrorKind::ConnectionReset))
    ));
    assert!(!is_violation(&model, connection("stable-a", "policy-b", Ok(1))));
    model.denies("policy-b");
    assert!(is_violation(&model, connection("stable-a", "policy-b", Ok(1))));
    let unanswered = Connection { answered: false, ..connection("stable-a", "policy-b", Ok(1)) };
    assert!(!is_violation(&model, unanswered));
    model.allows("policy-b");
    assert!(!is_violation(&model, connection("stable-a", "policy-b", Ok(1))));
}

#[test]
fn an_early_end_at_the_server_needs_a_failure_at_the_client() {
    let model = Model::default();
    model.served(named("stable-b").unwrap(), 7, failed(io::ErrorKind::UnexpectedEof));
    model.served(named("stable-b").unwrap(), 8, failed(io::ErrorKind::UnexpectedEof));
    model.begin(Fault::Proxy("b"));
    model.check(connection("stable-a", "stable-b", failed(io::ErrorKind::ConnectionReset)));
    assert_eq!(model.violations().len(), 1);
}

#[test]
fn only_pods_that_fail_open_may_receive_tls_while_their_proxy_is_away() {
    let model = Model::default();
    let offered = |name| model.served(named(name).unwrap(), 0, failed(io::ErrorKind::Unsupported));
    offered("stable-a");
    assert_eq!(model.violations().len(), 1);
    model.begin(Fault::Proxy("a"));
    offered("stable-a");
    assert_eq!(model.violations().len(), 1);
    offered("guarded-a");
    offered("stable-b");
    assert_eq!(model.violations().len(), 3);
}

#[test]
fn without_control_plane_only_new_connections_may_fail() {
    let model = Model::default();
    let after = |from, bytes| {
        let e = load::after_receiving(bytes, io::ErrorKind::ConnectionReset.into());
        is_violation(&model, connection(from, "stable-b", Err(e)))
    };
    assert!(after("stable-a", 0));
    model.begin(Fault::Control);
    assert!(!after("stable-a", 0));
    assert!(after("stable-a", 1));
    assert!(after("unmeshed", 0));
    model.end(&Fault::Control);
    assert!(after("stable-a", 0));
}

#[test]
fn only_clients_behind_a_cut_wire_may_miss_a_reset() {
    let model = Model::default();
    let waits = |from, to| is_violation(&model, connection(from, to, failed(io::ErrorKind::WouldBlock)));
    assert!(waits("unmeshed", "guarded-b"));
    model.begin(Fault::Wire);
    assert!(!waits("unmeshed", "guarded-b"));
    assert!(waits("unmeshed", "guarded-a"));
    assert!(waits("stable-a", "stable-b"));
    model.begin(Fault::Proxy("b"));
    assert!(!waits("stable-a", "stable-b"));
}

#[test]
fn stale_endpoints_affect_only_pods_that_change() {
    let model = Model::default();
    let refused = |to| {
        let e = load::after_receiving(0, io::ErrorKind::ConnectionReset.into());
        is_violation(&model, connection("stable-a", to, Err(e)))
    };
    let offered = |name| {
        let before = model.state().violations.len();
        model.served(named(name).unwrap(), 0, failed(io::ErrorKind::Unsupported));
        model.state().violations.len() > before
    };
    assert!(refused("joining-b") && offered("joining-b"));
    model.begin(Fault::StaleEndpoints);
    model.end_after(&Fault::StaleEndpoints, Duration::from_secs(60));
    assert!(!refused("joining-b") && !offered("joining-b"));
    assert!(refused("stable-b") && offered("stable-b"));
}
