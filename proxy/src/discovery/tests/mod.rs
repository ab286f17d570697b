//! Tests of discovery against a fake control plane.

mod fake;

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use tonic::{Code, Status};
use weft_api::linkerd::{
    destination::{DestinationProfile, NoEndpoints, TlsIdentity, Update, update},
    outbound::proxy_protocol::Kind,
};

use self::fake::{Fake, add, endpoint_profile, outbound_policy, remove, service_profile};
use super::*;
use crate::{balance::Balancer, metrics::Metrics, policy::DeclaredProtocol};

static SOURCE: LazyLock<SourceRef> =
    LazyLock::new(|| SourceRef { namespace: "demo".into(), pod: "client".into() });

fn short_timeouts() -> Config {
    Config {
        lookup_timeout: Duration::from_millis(1_500),
        peer_timeout: Duration::from_millis(300),
        min_backoff: Duration::from_millis(10),
        max_backoff: Duration::from_millis(100),
        ..Config::new("node-1")
    }
}

fn discovery(addr: SocketAddr, config: Config) -> Arc<Discovery> {
    let channel = Client::fixed(addr);
    let discovery = Discovery::new(channel, config, &Metrics::new(&[]));
    tokio::spawn(drop_idle(Arc::downgrade(&discovery)));
    discovery
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A service with two endpoints, the first of them meshed.
fn web(fake: &Fake) {
    fake.profile("10.96.0.7:80", Ok(service_profile("web.demo.svc.cluster.local")));
    fake.endpoints("web.demo.svc.cluster.local:80", Ok(add(&["10.0.0.1:8080", "10.0.0.2:8080"])));
}

#[track_caller]
fn balancer(destination: &Destination) -> &Arc<Balancer> {
    match destination {
        Destination::Service { endpoints, .. } => &endpoints.same_family,
        other => panic!("not a service: {other:?}"),
    }
}

fn ports(destination: &Destination) -> Vec<String> {
    balancer(destination).endpoints().iter().map(|endpoint| endpoint.addr.to_string()).collect()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(5), "timed out waiting until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_service_is_looked_up_once_and_followed() {
    let fake = Fake::start();
    web(&fake);
    let discovery = discovery(fake.addr(), short_timeouts());
    let resolves = (0..50).map(|_| discovery.resolve(addr("10.96.0.7:80"), &SOURCE));
    let found: Vec<_> = futures::future::join_all(resolves).await.into_iter().map(Result::unwrap).collect();
    assert!(found.iter().all(|destination| Arc::ptr_eq(destination, &found[0])));
    assert_eq!((fake.profile_calls(), fake.get_calls()), (1, 1));
    assert_eq!(fake.context_token(), r#"{"nodeName":"node-1"}"#);

    let Destination::Service { authority, labels, opaque, .. } = &*found[0] else { panic!("{found:?}") };
    assert_eq!((authority.as_str(), *opaque), ("web.demo.svc.cluster.local:80", false));
    assert_eq!(labels["dst_service"], "web");
    assert_eq!(ports(&found[0]), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    let endpoints = balancer(&found[0]).endpoints();
    let tls = endpoints[0].tls.as_ref().unwrap();
    assert_eq!(tls.identity.as_str(), "web.demo.serviceaccount.identity.linkerd.cluster.local");
    assert_eq!(endpoints[0].labels["dst_service"], "web");
    assert_eq!(endpoints[0].labels["dst_pod"], "pod-10-0-0-1");

    fake.send_endpoints(remove(&["10.0.0.1:8080"])).await;
    fake.send_endpoints(add(&["[fd00::3]:8080", "10.0.0.3:8080"])).await;
    // Endpoints of the family that was dialled are used, as long as there are any.
    until("the update is seen", || ports(&found[0]) == ["10.0.0.2:8080", "10.0.0.3:8080"]).await;
    fake.send_endpoints(remove(&["10.0.0.2:8080", "10.0.0.3:8080"])).await;
    until("the other family is used", || ports(&found[0]) == ["[fd00::3]:8080"]).await;
    fake.send_profile(DestinationProfile {
        opaque_protocol: true,
        ..service_profile("web.demo.svc.cluster.local")
    })
    .await;
    let opaque = || match &*discovery.known(addr("10.96.0.7:80")).unwrap() {
        Destination::Service { opaque, endpoints: now, .. } => {
            *opaque && Arc::ptr_eq(&now.same_family, balancer(&found[0]))
        }
        _ => false,
    };
    until("it is opaque, with the same balancer", opaque).await;
}

fn declared(destination: &Destination) -> DeclaredProtocol {
    match destination {
        Destination::Service { declared, .. } => *declared,
        other => panic!("not a service: {other:?}"),
    }
}

#[tokio::test]
async fn the_first_connection_to_a_service_knows_its_declared_protocol_and_later_ones_its_changes() {
    let fake = Fake::start();
    web(&fake);
    fake.policy("10.96.0.7:80", Ok(outbound_policy(Kind::Http1(Default::default()))));
    let discovery = discovery(fake.addr(), short_timeouts());
    let first = discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    assert_eq!(declared(&first), DeclaredProtocol::Http1);
    for (kind, expected) in [
        (Kind::Http2(Default::default()), DeclaredProtocol::Http2),
        (Kind::Detect(Default::default()), DeclaredProtocol::Detect),
        (Kind::Grpc(Default::default()), DeclaredProtocol::Grpc),
        // The profile says whether the port is opaque.
        (Kind::Opaque(Default::default()), DeclaredProtocol::Detect),
    ] {
        fake.send_policy(outbound_policy(kind)).await;
        let known = || discovery.known(addr("10.96.0.7:80")).unwrap();
        until("the change is seen", || declared(&known()) == expected).await;
        assert!(Arc::ptr_eq(balancer(&first), balancer(&known())), "its endpoints stay as they are");
    }
    assert_eq!((fake.policy_calls(), fake.get_calls()), (1, 1));
}

#[tokio::test]
async fn what_cannot_tell_declared_protocols_keeps_no_connection_waiting() {
    let fake = Fake::start();
    let services = [
        ("10.96.0.1:80", Some(Err(Status::not_found("gone")))),
        ("10.96.0.2:80", Some(Err(Status::internal("broken")))),
        ("10.96.0.3:80", None),
    ];
    for (path, policy) in &services {
        fake.profile(path, Ok(service_profile("web.demo.svc.cluster.local")));
        policy.iter().for_each(|policy| fake.policy(path, policy.clone()));
    }
    fake.endpoints("web.demo.svc.cluster.local:80", Ok(add(&["10.0.0.1:8080"])));
    let discovery = discovery(fake.addr(), short_timeouts());
    for (path, _) in &services {
        let found = discovery.resolve(addr(path), &SOURCE).await.unwrap();
        assert_eq!(declared(&found), DeclaredProtocol::Detect, "{path}");
    }
    // It is asked again.
    fake.policy("10.96.0.1:80", Ok(outbound_policy(Kind::Http1(Default::default()))));
    let known = || discovery.known(addr("10.96.0.1:80")).unwrap();
    until("the answer has come", || declared(&known()) == DeclaredProtocol::Http1).await;
}

#[tokio::test]
async fn a_declared_protocol_stays_while_the_control_plane_is_away() {
    let fake = Fake::start();
    web(&fake);
    fake.policy("10.96.0.7:80", Ok(outbound_policy(Kind::Http2(Default::default()))));
    let discovery = discovery(fake.addr(), short_timeouts());
    discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    drop(fake);
    until("the failure is seen", || discovery.control.is_away()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(declared(&discovery.known(addr("10.96.0.7:80")).unwrap()), DeclaredProtocol::Http2);
}

#[tokio::test]
async fn pods_and_external_addresses_are_distinguished() {
    let fake = Fake::start();
    fake.profile("10.0.0.1:8080", Ok(endpoint_profile("10.0.0.1:8080")));
    fake.profile("1.1.1.1:443", Ok(DestinationProfile::default()));
    fake.profile("10.0.0.1:1", Ok(endpoint_profile("10.0.0.1:1")));
    fake.profile("9.9.9.9:1", Ok(DestinationProfile::default()));
    let discovery = discovery(fake.addr(), short_timeouts());
    let pod = discovery.resolve(addr("[::ffff:10.0.0.1]:8080"), &SOURCE).await.unwrap();
    assert!(matches!(&*pod, Destination::Endpoint(endpoint) if endpoint.tls.is_some()), "{pod:?}");
    let external = discovery.resolve(addr("1.1.1.1:443"), &SOURCE).await.unwrap();
    assert!(matches!(*external, Destination::External));
    assert_eq!(discovery.peer_is_meshed(addr("10.0.0.1:45000")).await, Some(true));
    assert_eq!(discovery.peer_is_meshed(addr("10.0.0.1:45001")).await, Some(true));
    assert_eq!(discovery.peer_is_meshed(addr("9.9.9.9:45000")).await, Some(false));
    assert_eq!(fake.profile_calls(), 4, "clients' ports were looked up");
    // The control plane does not answer for this address.
    let start = Instant::now();
    assert_eq!(discovery.peer_is_meshed(addr("10.0.0.9:45000")).await, None);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn invalid_argument_is_final_and_not_found_is_not() {
    let fake = Fake::start();
    fake.profile("0.0.0.1:80", Err(Status::invalid_argument("no such address")));
    fake.profile("10.96.0.9:80", Err(Status::not_found("not yet")));
    fake.profile("10.96.0.8:80", Ok(service_profile("far.demo.svc.cluster.local")));
    fake.endpoints("far.demo.svc.cluster.local:80", Err(Status::invalid_argument("ExternalName")));
    let discovery = discovery(fake.addr(), short_timeouts());
    for dst in ["0.0.0.1:80", "10.96.0.9:80", "10.96.0.8:80"] {
        let found = discovery.resolve(addr(dst), &SOURCE).await.unwrap();
        assert!(matches!(*found, Destination::External), "{dst}: {found:?}");
    }
    fake.profile("10.96.0.9:80", Ok(service_profile("late.demo.svc.cluster.local")));
    fake.endpoints("late.demo.svc.cluster.local:80", Ok(add(&["10.0.0.4:80"])));
    let late = || matches!(&*discovery.known(addr("10.96.0.9:80")).unwrap(), Destination::Service { endpoints, .. } if endpoints.same_family.len() == 1);
    until("the service exists", late).await;
    assert_eq!(fake.calls_for("0.0.0.1:80"), 1);
}

#[tokio::test]
async fn known_destinations_stay_while_the_control_plane_is_away() {
    let fake = Fake::start();
    web(&fake);
    let at = fake.addr();
    let discovery = discovery(at, short_timeouts());
    let known = discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    drop(fake);
    until("the failure is seen", || discovery.control.is_away()).await;
    assert!(Arc::ptr_eq(&known, &discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap()));
    assert_eq!(balancer(&known).len(), 2);
    let error = discovery.resolve(addr("10.96.0.99:80"), &SOURCE).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::Unavailable { call: "GetProfile", .. }), "{error}");
    // The short timeout starts a moment after the first lookup has timed out.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = discovery.resolve(addr("10.96.0.99:80"), &SOURCE).await.unwrap_err();
    let DiscoveryError::Unavailable { after, .. } = error else { panic!("{error}") };
    assert_eq!(after, short_timeouts().away_timeout, "lookups must be short while the control plane is away");

    // The control plane returns with other endpoints: they replace the old ones.
    let fake = Fake::start_at(at);
    fake.profile("10.96.0.7:80", Ok(service_profile("web.demo.svc.cluster.local")));
    fake.endpoints("web.demo.svc.cluster.local:80", Ok(add(&["10.0.0.2:8080", "10.0.0.5:8080"])));
    fake.profile("10.96.0.99:80", Ok(DestinationProfile::default()));
    until("the new endpoints are in use", || ports(&known) == ["10.0.0.2:8080", "10.0.0.5:8080"]).await;
    discovery.resolve(addr("10.96.0.99:80"), &SOURCE).await.unwrap();
    assert!(!discovery.control.is_away());
}

#[tokio::test]
async fn lookups_time_out_and_the_error_names_the_call() {
    let fake = Fake::start();
    let discovery =
        discovery(fake.addr(), Config { lookup_timeout: Duration::from_millis(200), ..short_timeouts() });
    let start = Instant::now();
    let error = discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(
        error.to_string().starts_with("10.96.0.7:80: ") && error.to_string().contains("GetProfile"),
        "{error}"
    );
    // The service is known, its endpoints are not.
    fake.profile("10.96.0.8:80", Ok(service_profile("mute.demo.svc.cluster.local")));
    let error = discovery.resolve(addr("10.96.0.8:80"), &SOURCE).await.unwrap_err();
    assert!(error.to_string().contains(" Get "), "{error}");
    // A later lookup finds the answer that arrived meanwhile.
    web(&fake);
    until("it is known", || discovery.known(addr("10.96.0.7:80")).is_some()).await;
}

#[tokio::test]
async fn invalid_endpoints_are_left_out() {
    let fake = Fake::start();
    fake.profile("10.96.0.7:80", Ok(service_profile("web.demo.svc.cluster.local")));
    let mut update = add(&["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]);
    let Some(update::Update::Add(set)) = &mut update.update else { panic!() };
    set.addrs[0].tls_identity = Some(TlsIdentity::default());
    set.addrs[1].addr.as_mut().unwrap().port = 99_999;
    fake.endpoints("web.demo.svc.cluster.local:80", Ok(update));
    let discovery = discovery(fake.addr(), short_timeouts());
    let found = discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    assert_eq!(ports(&found), ["10.0.0.3:8080"]);
}

#[tokio::test]
async fn a_service_without_endpoints_is_known() {
    let fake = Fake::start();
    fake.profile("10.96.0.7:80", Ok(service_profile("web.demo.svc.cluster.local")));
    let none = Update { update: Some(update::Update::NoEndpoints(NoEndpoints { exists: true })) };
    fake.endpoints("web.demo.svc.cluster.local:80", Ok(none));
    let discovery = discovery(fake.addr(), short_timeouts());
    let found = discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    assert!(balancer(&found).pick(&[]).is_none());
}

#[tokio::test]
async fn unused_destinations_are_dropped_and_no_longer_watched() {
    let fake = Fake::start();
    web(&fake);
    let discovery = discovery(fake.addr(), Config { idle: Duration::from_millis(200), ..short_timeouts() });
    discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    assert_eq!((discovery.len(), fake.open_streams()), (1, 2));
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    }
    assert_eq!(fake.profile_calls(), 1, "a destination in use was looked up again");
    until("it is dropped", || discovery.is_empty() && fake.open_streams() == 0).await;
    drop(discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap());
    assert_eq!(fake.profile_calls(), 2);
    drop(discovery);
    until("no stream is left", || fake.open_streams() == 0).await;
}

#[tokio::test]
async fn the_number_of_destinations_is_bounded() {
    let fake = Fake::start();
    for n in 1..=6 {
        fake.profile(&format!("10.9.0.{n}:80"), Ok(DestinationProfile::default()));
    }
    let metrics = Metrics::new(&[]);
    let channel = Client::fixed(fake.addr());
    let discovery = Discovery::new(channel, Config { max_entries: 3, ..short_timeouts() }, &metrics);
    for n in 1..=3 {
        discovery.resolve(addr(&format!("10.9.0.{n}:80")), &SOURCE).await.unwrap();
    }
    let error = discovery.resolve(addr("10.9.0.4:80"), &SOURCE).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::Full { limit: 3, .. }), "{error}");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    discovery.resolve(addr("10.9.0.1:80"), &SOURCE).await.unwrap();
    discovery.resolve(addr("10.9.0.4:80"), &SOURCE).await.unwrap();
    assert_eq!(discovery.len(), 3);
    assert!(discovery.known(addr("10.9.0.1:80")).is_some(), "the destination that was used last was evicted");
    let text = metrics.encode().unwrap();
    for line in [
        "weft_discovery_destinations 3",
        "weft_discovery_evictions_total 1",
        "weft_discovery_refusals_total 1",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn irreplaceable_destinations_are_not_evicted() {
    let fake = Fake::start();
    web(&fake);
    let config = Config { max_entries: 3, lookup_timeout: Duration::from_millis(500), ..short_timeouts() };
    let discovery = discovery(fake.addr(), config);
    discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    drop(fake);
    until("the failure is seen", || discovery.control.is_away()).await;
    for _ in 0..2 {
        for n in 1..=4 {
            discovery.resolve(addr(&format!("10.9.0.{n}:80")), &SOURCE).await.unwrap_err();
        }
        // Recently used entries are not evicted either.
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
    assert!(discovery.known(addr("10.96.0.7:80")).is_some(), "lookups of many addresses have evicted it");
}

#[tokio::test]
async fn failed_calls_are_retried() {
    let fake = Fake::start();
    fake.profile("10.96.0.7:80", Err(Status::new(Code::Internal, "temporary failure")));
    let discovery = discovery(fake.addr(), short_timeouts());
    let resolve = tokio::spawn({
        let discovery = discovery.clone();
        async move { discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await }
    });
    until("the call is retried", || fake.profile_calls() >= 3).await;
    web(&fake);
    assert_eq!(ports(&resolve.await.unwrap().unwrap()).len(), 2);
}
