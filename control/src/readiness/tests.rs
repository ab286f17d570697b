//! Checks when a replica is ready, and what several replicas announce.

use std::{fs, time::Duration};

use tempfile::TempDir;
use tonic::{Code, Streaming};
use weft_api::{
    linkerd::{destination::GetDestination, identity::CertifyRequest},
    node::{ReportRequest, State, Update, WatchRequest, WorkloadRef, WorkloadState},
};

use super::*;
use crate::{
    index::Served,
    testing::{Running, applied, bearer, within},
};

/// Node proxies on two nodes, and a meshed pod on each.
const CLUSTER: &str = r#"
{apiVersion: v1, kind: Pod, metadata: {name: weft-proxy-one, namespace: linkerd, uid: p1},
 spec: {nodeName: one, serviceAccountName: weft-proxy, hostNetwork: true}}
---
{apiVersion: v1, kind: Pod, metadata: {name: weft-proxy-two, namespace: linkerd, uid: p2},
 spec: {nodeName: two, serviceAccountName: weft-proxy, hostNetwork: true}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: demo, uid: "1",
 annotations: {linkerd.io/inject: enabled}}, spec: {nodeName: one}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: demo, uid: "1",
 annotations: {linkerd.io/inject: enabled, config.weft.dev/fail-mode: closed}},
 spec: {nodeName: two}, status: {podIP: 10.0.0.2}}
"#;

const WEB: &str = "10.0.0.1:80";
const DB: &str = "10.0.0.2:80";

/// Another replica with the same authority and the same tokens, and no state besides.
async fn replica_of(first: &Running) -> Running {
    let dir = TempDir::new().unwrap();
    let tokens = dir.path().join("state/tokens");
    fs::create_dir_all(&tokens).unwrap();
    for name in ["anchors.pem", "issuer.pem", "issuer-key.pem", "tokens/one", "tokens/two"] {
        fs::copy(first.state(name), dir.path().join("state").join(name)).unwrap();
    }
    Running::start_in(dir, CLUSTER).await
}

/// A control plane that knows from its file which pods are served.
async fn first_replica() -> Running {
    let dir = TempDir::new().unwrap();
    let instance =
        |name: &str| serde_json::json!([{ "name": { "namespace": "demo", "name": name }, "uid": "1" }]);
    fs::create_dir_all(dir.path().join("state")).unwrap();
    let served = serde_json::json!({ "one": instance("web"), "two": instance("db") });
    fs::write(dir.path().join("state/served.json"), served.to_string()).unwrap();
    Running::start_in(dir, CLUSTER).await
}

/// What a node's proxy does at every replica: it watches, and reports a pod.
async fn session(replica: &Running, node: &str, pod: &str) -> Streaming<Update> {
    let token = replica.token(node);
    let watch = WatchRequest { node: node.into(), presence_only: true, draining: false };
    let stream = replica.node().watch(bearer(watch, &token)).await.unwrap().into_inner();
    report(replica, node, pod).await;
    stream
}

async fn report(replica: &Running, node: &str, pod: &str) {
    let reference = WorkloadRef { namespace: "demo".into(), name: pod.into(), uid: "1".into() };
    let state = WorkloadState { r#ref: Some(reference), state: State::Served.into(), reason: String::new() };
    let report = ReportRequest { node: node.into(), workloads: vec![state] };
    replica.node().report(bearer(report, &replica.token(node))).await.unwrap();
}

/// Whether peers are told to use mTLS with the pod at this address.
async fn announced(replica: &Running, address: &str) -> Result<bool, Code> {
    let target = GetDestination { path: address.into(), ..GetDestination::default() };
    let mut profiles =
        replica.destination().get_profile(target).await.map_err(|status| status.code())?.into_inner();
    let profile = within(profiles.message()).await.unwrap().unwrap();
    Ok(profile.endpoint.unwrap().tls_identity.is_some())
}

async fn ready_page(replica: &Running) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(replica.admin).await.unwrap();
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_new_replica_answers_when_every_node_with_a_proxy_has_reported() {
    let first = first_replica().await;
    assert_eq!(announced(&first, WEB).await, Ok(true));
    let second = replica_of(&first).await;
    let mut one = session(&second, "one", "web").await;
    // A report of a node without a session does not count: its proxy may be gone.
    report(&second, "two", "db").await;
    assert_eq!(announced(&second, WEB).await, Err(Code::Unavailable));
    let watch = WatchRequest { node: "one".into(), ..WatchRequest::default() };
    let status = second.node().watch(bearer(watch, &second.token("one"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("waits for the reports of the node proxies"), "{status}");
    let status = second.identity().certify(CertifyRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(ready_page(&second).await.starts_with("HTTP/1.1 503"));
    let early = tokio::time::timeout(Duration::from_millis(200), one.message()).await;
    assert!(early.is_err(), "{early:?}");

    let mut two = session(&second, "two", "db").await;
    for stream in [&mut one, &mut two] {
        assert!(within(stream.message()).await.unwrap().is_some());
    }
    assert!(ready_page(&second).await.starts_with("HTTP/1.1 200"));
    // What it announces first is what the other replica announces.
    for address in [WEB, DB] {
        assert_eq!(announced(&second, address).await, announced(&first, address).await);
        assert_eq!(announced(&second, address).await, Ok(true));
    }
}

#[tokio::test]
async fn the_other_replicas_announce_the_same_while_one_is_replaced() {
    let first = first_replica().await;
    let second = replica_of(&first).await;
    let mut sessions = Vec::new();
    for replica in [&first, &second] {
        sessions.push(session(replica, "one", "web").await);
        sessions.push(session(replica, "two", "db").await);
    }
    within(async {
        while announced(&second, WEB).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let target = GetDestination { path: WEB.into(), ..GetDestination::default() };
    let mut watched = second.destination().get_profile(target).await.unwrap().into_inner();
    assert!(within(watched.message()).await.unwrap().unwrap().endpoint.unwrap().tls_identity.is_some());
    // The sessions of the first one end with it; those of the second stay.
    sessions.drain(..2);
    first.stop().await;
    let third = replica_of(&second).await;
    assert_eq!(announced(&third, WEB).await, Err(Code::Unavailable));
    let _sessions = [session(&third, "one", "web").await, session(&third, "two", "db").await];
    within(async {
        while announced(&third, WEB).await != Ok(true) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(announced(&second, WEB).await, Ok(true));
    let change = tokio::time::timeout(Duration::from_millis(700), watched.message()).await;
    assert!(change.is_err(), "the replica that stayed has announced a change: {change:?}");
}

#[tokio::test]
async fn a_node_that_does_not_report_is_waited_for_only_for_a_while() {
    let index = Arc::new(Index::new(Served::new()));
    index.apply(applied(CLUSTER));
    let proxies = ProxyPods { namespace: "linkerd".into(), service_account: "weft-proxy" };
    let readiness = Readiness::with_grace(proxies, Duration::from_millis(300));
    let stop = CancellationToken::new();
    tokio::spawn(readiness.clone().run(index.clone(), Metrics::new(), stop.clone()));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(readiness.missing().contains("not read the cluster"), "{}", readiness.missing());
    let begun = Instant::now();
    readiness.source_synced(&index);
    readiness.node_reported("one");
    assert_eq!(readiness.check().unwrap_err().code(), Code::Unavailable);
    within(async {
        while readiness.check().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    // The proxy of node two may serve the pod that fails closed: nobody may reach it in plaintext.
    let served: Vec<_> =
        index.snapshot().pods().filter(|pod| pod.served).map(|pod| pod.name.name.clone()).collect();
    assert_eq!(served, ["db"]);
    stop.cancel();
}

#[tokio::test]
async fn without_node_proxies_nothing_is_waited_for() {
    let proxies = ProxyPods { namespace: "linkerd".into(), service_account: "weft-proxy" };
    let readiness = Readiness::new(proxies);
    assert!(readiness.check().is_err());
    readiness.source_synced(&Index::new(Served::new()));
    assert!(readiness.check().is_ok());
}
