//! Does discovery follow a real control plane through everything that happens to one?

mod fake;

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use tonic::{Code, Status};
use weft_api::linkerd::destination::{DestinationProfile, NoEndpoints, TlsIdentity, Update, update};

use self::fake::{Fake, add, endpoint_profile, remove, service_profile};
use super::*;
use crate::{
    balance::Balancer,
    metrics::{Format, Metrics},
};

static SOURCE: LazyLock<SourceRef> =
    LazyLock::new(|| SourceRef { namespace: "demo".into(), pod: "client".into() });

fn quick() -> Config {
    Config {
        lookup_timeout: Duration::from_millis(1_500),
        peer_timeout: Duration::from_millis(300),
        min_backoff: Duration::from_millis(10),
        max_backoff: Duration::from_millis(100),
        ..Config::new("node-1")
    }
}

fn discovery(addr: SocketAddr, config: Config) -> Arc<Discovery> {
    let channel = Channel::from_shared(format!("http://{addr}")).unwrap().connect_lazy();
    Discovery::new(channel, config, &Metrics::new(&[]))
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
        assert!(start.elapsed() < Duration::from_secs(5), "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_service_is_looked_up_once_and_followed() {
    let fake = Fake::start();
    web(&fake);
    let discovery = discovery(fake.addr(), quick());
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

    fake.tell_endpoints(remove(&["10.0.0.1:8080"])).await;
    fake.tell_endpoints(add(&["[fd00::3]:8080", "10.0.0.3:8080"])).await;
    // The family that was dialled, as long as it has endpoints.
    until("the update is seen", || ports(&found[0]) == ["10.0.0.2:8080", "10.0.0.3:8080"]).await;
    fake.tell_endpoints(remove(&["10.0.0.2:8080", "10.0.0.3:8080"])).await;
    until("the other family is used", || ports(&found[0]) == ["[fd00::3]:8080"]).await;
    fake.tell_profile(DestinationProfile {
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

#[tokio::test]
async fn pods_and_strangers_are_told_apart() {
    let fake = Fake::start();
    fake.profile("10.0.0.1:8080", Ok(endpoint_profile("10.0.0.1:8080")));
    fake.profile("1.1.1.1:443", Ok(DestinationProfile::default()));
    fake.profile("10.0.0.1:1", Ok(endpoint_profile("10.0.0.1:1")));
    fake.profile("9.9.9.9:1", Ok(DestinationProfile::default()));
    let discovery = discovery(fake.addr(), quick());
    let pod = discovery.resolve(addr("[::ffff:10.0.0.1]:8080"), &SOURCE).await.unwrap();
    assert!(matches!(&*pod, Destination::Endpoint(endpoint) if endpoint.tls.is_some()), "{pod:?}");
    let stranger = discovery.resolve(addr("1.1.1.1:443"), &SOURCE).await.unwrap();
    assert!(matches!(*stranger, Destination::External));
    assert_eq!(discovery.peer_is_meshed(addr("10.0.0.1:45000")).await, Some(true));
    assert_eq!(discovery.peer_is_meshed(addr("10.0.0.1:45001")).await, Some(true));
    assert_eq!(discovery.peer_is_meshed(addr("9.9.9.9:45000")).await, Some(false));
    assert_eq!(fake.profile_calls(), 4, "clients' own ports are not asked for");
    // The control plane says nothing of this one.
    let start = Instant::now();
    assert_eq!(discovery.peer_is_meshed(addr("10.0.0.9:45000")).await, None);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn refusals_are_final_and_absence_is_not() {
    let fake = Fake::start();
    fake.profile("0.0.0.1:80", Err(Status::invalid_argument("no such address")));
    fake.profile("10.96.0.9:80", Err(Status::not_found("not yet")));
    fake.profile("10.96.0.8:80", Ok(service_profile("far.demo.svc.cluster.local")));
    fake.endpoints("far.demo.svc.cluster.local:80", Err(Status::invalid_argument("ExternalName")));
    let discovery = discovery(fake.addr(), quick());
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
async fn what_is_known_outlives_the_control_plane() {
    let fake = Fake::start();
    web(&fake);
    let at = fake.addr();
    let discovery = discovery(at, quick());
    let known = discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    drop(fake);
    until("the failure is seen", || discovery.control.is_away()).await;
    assert!(Arc::ptr_eq(&known, &discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap()));
    assert_eq!(balancer(&known).len(), 2);
    let error = discovery.resolve(addr("10.96.0.99:80"), &SOURCE).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::Unavailable { call: "GetProfile", .. }), "{error}");
    // It has failed for as long as was waited for a moment later than that is over.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = discovery.resolve(addr("10.96.0.99:80"), &SOURCE).await.unwrap_err();
    let DiscoveryError::Unavailable { after, .. } = error else { panic!("{error}") };
    assert_eq!(after, quick().away_timeout, "waiting is short while nobody answers for long");

    // It returns, and endpoints have changed meanwhile: what it no longer names is gone.
    let fake = Fake::start_at(at);
    fake.profile("10.96.0.7:80", Ok(service_profile("web.demo.svc.cluster.local")));
    fake.endpoints("web.demo.svc.cluster.local:80", Ok(add(&["10.0.0.2:8080", "10.0.0.5:8080"])));
    fake.profile("10.96.0.99:80", Ok(DestinationProfile::default()));
    until("the new endpoints are in use", || ports(&known) == ["10.0.0.2:8080", "10.0.0.5:8080"]).await;
    discovery.resolve(addr("10.96.0.99:80"), &SOURCE).await.unwrap();
    assert!(!discovery.control.is_away());
}

#[tokio::test]
async fn waiting_is_bounded_and_the_error_says_for_what() {
    let fake = Fake::start();
    let discovery = discovery(fake.addr(), Config { lookup_timeout: Duration::from_millis(200), ..quick() });
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
    // Whoever asks later finds what came meanwhile.
    web(&fake);
    until("it is known", || discovery.known(addr("10.96.0.7:80")).is_some()).await;
}

#[tokio::test]
async fn endpoints_that_make_no_sense_are_left_out() {
    let fake = Fake::start();
    fake.profile("10.96.0.7:80", Ok(service_profile("web.demo.svc.cluster.local")));
    let mut update = add(&["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]);
    let Some(update::Update::Add(set)) = &mut update.update else { panic!() };
    set.addrs[0].tls_identity = Some(TlsIdentity::default());
    set.addrs[1].addr.as_mut().unwrap().port = 99_999;
    fake.endpoints("web.demo.svc.cluster.local:80", Ok(update));
    let discovery = discovery(fake.addr(), quick());
    let found = discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    assert_eq!(ports(&found), ["10.0.0.3:8080"]);
}

#[tokio::test]
async fn a_service_without_endpoints_is_known_too() {
    let fake = Fake::start();
    fake.profile("10.96.0.7:80", Ok(service_profile("web.demo.svc.cluster.local")));
    let none = Update { update: Some(update::Update::NoEndpoints(NoEndpoints { exists: true })) };
    fake.endpoints("web.demo.svc.cluster.local:80", Ok(none));
    let discovery = discovery(fake.addr(), quick());
    let found = discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    assert!(balancer(&found).pick(&[]).is_none());
}

#[tokio::test]
async fn destinations_nobody_asks_for_are_forgotten_and_not_watched() {
    let fake = Fake::start();
    web(&fake);
    let discovery = discovery(fake.addr(), Config { idle: Duration::from_millis(200), ..quick() });
    discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    assert_eq!((discovery.len(), fake.open_streams()), (1, 2));
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    }
    assert_eq!(fake.profile_calls(), 1, "one in use is kept");
    until("it is forgotten", || discovery.is_empty() && fake.open_streams() == 0).await;
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
    let channel = Channel::from_shared(format!("http://{}", fake.addr())).unwrap().connect_lazy();
    let discovery = Discovery::new(channel, Config { max_entries: 3, ..quick() }, &metrics);
    for n in 1..=3 {
        discovery.resolve(addr(&format!("10.9.0.{n}:80")), &SOURCE).await.unwrap();
    }
    let error = discovery.resolve(addr("10.9.0.4:80"), &SOURCE).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::Full { limit: 3, .. }), "{error}");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    discovery.resolve(addr("10.9.0.1:80"), &SOURCE).await.unwrap();
    discovery.resolve(addr("10.9.0.4:80"), &SOURCE).await.unwrap();
    assert_eq!(discovery.len(), 3);
    assert!(discovery.known(addr("10.9.0.1:80")).is_some(), "the one used last stays");
    let text = metrics.encode(Format::Text).unwrap();
    for line in [
        "weft_discovery_destinations 3",
        "weft_discovery_evictions_total 1",
        "weft_discovery_refusals_total 1",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_had_again_makes_no_room_for_others() {
    let fake = Fake::start();
    web(&fake);
    let config = Config { max_entries: 3, lookup_timeout: Duration::from_millis(100), ..quick() };
    let discovery = discovery(fake.addr(), config);
    discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await.unwrap();
    drop(fake);
    until("the failure is seen", || discovery.control.is_away()).await;
    for _ in 0..2 {
        for n in 1..=4 {
            discovery.resolve(addr(&format!("10.9.0.{n}:80")), &SOURCE).await.unwrap_err();
        }
        // What was used a moment ago makes no room either.
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
    assert!(
        discovery.known(addr("10.96.0.7:80")).is_some(),
        "somebody who tries all addresses has turned it out"
    );
}

#[tokio::test]
async fn errors_are_tried_again() {
    let fake = Fake::start();
    fake.profile("10.96.0.7:80", Err(Status::new(Code::Internal, "a bad moment")));
    let discovery = discovery(fake.addr(), quick());
    let resolve = tokio::spawn({
        let discovery = discovery.clone();
        async move { discovery.resolve(addr("10.96.0.7:80"), &SOURCE).await }
    });
    until("it is tried again", || fake.profile_calls() >= 3).await;
    web(&fake);
    assert_eq!(ports(&resolve.await.unwrap().unwrap()).len(), 2);
}
