//! Checks what proxies are told about their node, and when pods are announced as meshed.

mod policies;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Streaming};
use weft_api::node::{
    AccessLog, FailMode, InboundPolicy, PortPolicy, PortRange, Protocol, ReportRequest, State, Update,
    WatchRequest, Workload, WorkloadRef, WorkloadState, update::Kind,
};

use super::{ProxyPresence, ServedFile, presence::Timing};
use crate::{
    index::{Index, Served},
    metrics::Metrics,
    testing::{Running, applied, bearer, serve_all, within},
};

fn pod(name: &str, node: &str, uid: &str, more: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: demo, uid: \"{uid}\", labels: \
         {{linkerd.io/proxy-deployment: web}}, annotations: {{linkerd.io/inject: enabled}}}}, spec: {{nodeName: \
         {node}, {more}}}, status: {{podIP: 10.0.0.1}}}}\n"
    )
}

fn watch_of(node: &str) -> WatchRequest {
    WatchRequest { node: node.into(), ..WatchRequest::default() }
}

async fn next(stream: &mut Streaming<Update>) -> Kind {
    within(stream.message()).await.unwrap().unwrap().kind.unwrap()
}

fn names(workloads: &[Workload]) -> Vec<&str> {
    workloads.iter().map(|workload| workload.r#ref.as_ref().unwrap().name.as_str()).collect()
}

#[tokio::test]
async fn a_snapshot_comes_first_and_then_differences() {
    let base = pod("a", "one", "1", "")
        + &pod("other", "two", "1", "")
        + &pod("host", "one", "1", "hostNetwork: true");
    let unmeshed = pod("plain", "one", "1", "").replace("enabled", "disabled");
    let no_address = pod("new", "one", "1", "").replace("10.0.0.1", "");
    let text = format!("{base}{unmeshed}{}", no_address.replace("podIP: ", ""));
    let running = Running::start(&text).await;
    let mut stream =
        running.node().watch(bearer(watch_of("one"), &running.token("one"))).await.unwrap().into_inner();
    let Kind::Snapshot(snapshot) = next(&mut stream).await else { panic!() };
    // A pod without an address too: its proxy may learn the address first. The pods that are not meshed are named.
    assert_eq!(names(&snapshot.workloads), ["a", "host", "new"]);
    assert!(snapshot.workloads[2].ips.is_empty());
    assert_eq!(snapshot.unmeshed.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["plain"]);
    let a = &snapshot.workloads[0];
    assert_eq!(a.identity, "default.demo.serviceaccount.identity.linkerd.cluster.local");
    assert_eq!((a.ips.as_slice(), a.host_network), (["10.0.0.1".to_owned()].as_slice(), false));
    assert_eq!(
        (a.fail_mode(), a.default_inbound_policy()),
        (FailMode::Open, InboundPolicy::AllUnauthenticated)
    );
    assert_eq!(a.labels["deployment"], "web");
    assert!(snapshot.workloads[1].host_network);

    running.manifest(
        &text.replace("namespace: demo, uid: \"1\", labels", "namespace: demo, uid: \"2\", labels"),
    );
    let mut kinds = Vec::new();
    for _ in 0..8 {
        kinds.push(match next(&mut stream).await {
            Kind::Remove(gone) => format!("remove {} {}", gone.name, gone.uid),
            Kind::Upsert(new) => {
                let new = new.r#ref.unwrap();
                format!("upsert {} {}", new.name, new.uid)
            }
            Kind::Unmeshed(pod) => format!("unmeshed {} {}", pod.name, pod.uid),
            Kind::Snapshot(_) => "snapshot".into(),
            Kind::Splice(_) => "splice".into(),
            Kind::Issuer(_) => "issuer".into(),
        });
    }
    let removed = ["remove a 1", "remove host 1", "remove new 1", "remove plain 1"];
    let added = ["upsert a 2", "upsert host 2", "upsert new 2", "unmeshed plain 2"];
    assert_eq!(kinds, [removed, added].concat());

    running.manifest(&pod("a", "one", "2", "").replace(
        "linkerd.io/inject: enabled",
        "linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: deny",
    ));
    for name in ["host", "new", "plain"] {
        let Kind::Remove(gone) = next(&mut stream).await else { panic!() };
        assert_eq!(gone.name, name);
    }
    let Kind::Upsert(changed) = next(&mut stream).await else { panic!() };
    assert_eq!(changed.fail_mode(), FailMode::Closed);
    assert_eq!(changed.default_inbound_policy(), InboundPolicy::Deny);
}

#[tokio::test]
async fn http_settings_reach_the_proxy() {
    let annotations = "linkerd.io/inject: enabled, config.linkerd.io/access-log: apache, \
         config.linkerd.io/opaque-ports: \"25\", \
         config.linkerd.io/proxy-disable-outbound-protocol-detect-timeout: \"true\"";
    let server = |port: u16, protocol: &str| {
        format!(
            "---\n{{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {{name: s{port}, namespace: \
             demo}}, spec: {{port: {port}, accessPolicy: audit, proxyProtocol: {protocol}}}}}\n"
        )
    };
    let names = ["unknown", "opaque", "HTTP/1", "HTTP/2", "gRPC", "TLS"];
    let servers: String = (80..).zip(names).map(|(port, name)| server(port, name)).collect();
    let text = pod("a", "one", "1", "").replace("linkerd.io/inject: enabled", annotations) + &servers;
    let running = Running::start(&text).await;
    let mut stream =
        running.node().watch(bearer(watch_of("one"), &running.token("one"))).await.unwrap().into_inner();
    let Kind::Snapshot(snapshot) = next(&mut stream).await else { panic!() };
    let a = &snapshot.workloads[0];
    assert_eq!(a.access_log(), AccessLog::Apache);
    assert!(a.outbound_detect_timeout_disabled && !a.inbound_detect_timeout_disabled);
    assert_eq!(a.opaque_ports, [25, 81].map(|port| PortRange { start: port, end: port }));
    let protocols: Vec<_> = a.port_policies.iter().map(PortPolicy::protocol).collect();
    assert_eq!(
        protocols,
        [
            Protocol::Unspecified,
            Protocol::Opaque,
            Protocol::Http1,
            Protocol::Http2,
            Protocol::Grpc,
            Protocol::Tls
        ]
    );
    running.manifest(&text.replace("apache", "json"));
    let Kind::Upsert(changed) = next(&mut stream).await else { panic!() };
    assert_eq!(changed.access_log(), AccessLog::Json);
}

#[tokio::test]
async fn a_token_is_good_for_its_own_node_only() {
    let running = Running::start(&(pod("a", "one", "1", "") + &pod("b", "two", "1", ""))).await;
    let code = |request| async { running.node().watch(request).await.unwrap_err().code() };
    assert_eq!(code(bearer(watch_of("two"), &running.token("one"))).await, Code::PermissionDenied);
    assert_eq!(code(bearer(watch_of("one"), "0123456789abcdef")).await, Code::Unauthenticated);
    assert_eq!(code(Request::new(watch_of("one"))).await, Code::Unauthenticated);
    let report = ReportRequest { node: "two".into(), workloads: Vec::new() };
    let status = running.node().report(bearer(report, &running.token("one"))).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn reports_are_remembered_over_a_restart() {
    let text = pod("a", "one", "1", "") + &pod("b", "one", "1", "") + &pod("c", "two", "1", "");
    let running = Running::start(&text).await;
    let state = |name: &str, state: State| WorkloadState {
        r#ref: Some(WorkloadRef { namespace: "demo".into(), name: name.into(), uid: "1".into() }),
        state: state.into(),
        reason: String::new(),
    };
    let workloads = vec![
        state("a", State::Served),
        state("b", State::Joining),
        // A pod of another node: this one may not report it.
        state("c", State::Served),
    ];
    let report = ReportRequest { node: "one".into(), workloads };
    running.node().report(bearer(report, &running.token("one"))).await.unwrap();
    let served = |running: &Running| -> Vec<String> {
        let cluster = running.index.snapshot();
        cluster.pods().filter(|pod| pod.served).map(|pod| pod.name.name.clone()).collect()
    };
    assert_eq!(served(&running), ["a"]);
    let dir = running.stop().await;
    let again = Running::start_in(dir, &text).await;
    assert_eq!(served(&again), ["a"]);
    // The proxy restarts: pods that it has not taken up yet stay as they were.
    for (workloads, expected) in [
        (vec![], vec!["a"]),
        (vec![state("a", State::Joining), state("b", State::Served)], vec!["a", "b"]),
        (vec![state("a", State::Leaving), state("b", State::Refused)], vec![]),
    ] {
        let report = ReportRequest { node: "one".into(), workloads };
        again.node().report(bearer(report, &again.token("one"))).await.unwrap();
        assert_eq!(served(&again), expected);
    }
}

/// An index of two pods on one node, both served: one fails open, one closed.
fn two_served() -> Arc<Index> {
    let closed = pod("closed", "one", "1", "").replace(
        "linkerd.io/inject: enabled",
        "linkerd.io/inject: enabled, config.weft.dev/fail-mode: closed",
    );
    let index = Arc::new(Index::new(Served::new()));
    index.apply(applied(&(pod("open", "one", "1", "") + &closed)));
    serve_all(&index);
    index
}

fn announced(index: &Index) -> Vec<String> {
    index.snapshot().pods().filter(|pod| pod.served).map(|pod| pod.name.name.clone()).collect()
}

/// Short enough to wait for.
const TIMING: Timing = Timing {
    grace: Duration::from_millis(500),
    check_interval: Duration::from_millis(10),
    stall: Duration::from_millis(400),
};

async fn until_announced(index: &Index, expected: &[&str]) {
    within(async {
        while announced(index) != expected {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Checks it for longer than a change would take.
async fn stays_announced(index: &Index, expected: &[&str]) {
    for _ in 0..60 {
        assert_eq!(announced(index), expected);
        sleep(TIMING.grace / 40).await;
    }
}

#[tokio::test]
async fn pods_that_fail_open_are_withdrawn_when_their_node_has_no_proxy() {
    let index = two_served();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("served.json");
    let presence = ProxyPresence::with(TIMING);
    let stop = CancellationToken::new();
    let file = Arc::new(ServedFile::open(&path).0);
    let running = tokio::spawn(presence.clone().run(index.clone(), file, Metrics::new(), stop.clone()));
    let both = ["closed", "open"];

    let old = presence.enter("one");
    stays_announced(&index, &both).await;
    // One takes over from the other.
    let new = presence.enter("one");
    drop(old);
    stays_announced(&index, &both).await;
    drop(new);
    until_announced(&index, &["closed"]).await;
    within(async {
        // A restart would announce it again.
        while ServedFile::open(&path).1.get("one").is_none_or(|served| served.len() != 1) {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;

    // A late report of a proxy that has disconnected does not count; that of a connected proxy does.
    serve_all(&index);
    presence.reported("one");
    until_announced(&index, &["closed"]).await;
    let third = presence.enter("one");
    serve_all(&index);
    presence.reported("one");
    stays_announced(&index, &both).await;
    // The control plane ends all streams when it stops.
    stop.cancel();
    drop(third);
    running.await.unwrap();
    assert_eq!(announced(&index), both);
}

#[tokio::test]
async fn a_draining_proxy_is_told_of_changes_and_does_not_count() {
    let text = pod("open", "one", "1", "");
    let running = Running::start(&text).await;
    serve_all(&running.index);
    let token = running.token("one");
    let draining = WatchRequest { draining: true, ..watch_of("one") };
    let serving = running.node().watch(bearer(watch_of("one"), &token)).await.unwrap().into_inner();
    let mut stream = running.node().watch(bearer(draining, &token)).await.unwrap().into_inner();
    let Kind::Snapshot(_) = next(&mut stream).await else { panic!() };
    assert_eq!(announced(&running.index), ["open"]);
    drop(serving);
    until_announced(&running.index, &[]).await;
    running.manifest(&text.replace(
        "linkerd.io/inject: enabled",
        "linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: deny",
    ));
    let Kind::Upsert(changed) = next(&mut stream).await else { panic!() };
    assert_eq!(changed.default_inbound_policy(), InboundPolicy::Deny);
}

#[tokio::test]
async fn a_proxy_that_never_connects_has_a_grace_period_only() {
    let index = two_served();
    let dir = tempfile::tempdir().unwrap();
    let file = Arc::new(ServedFile::open(&dir.path().join("served.json")).0);
    let begun = Instant::now();
    let stop = CancellationToken::new();
    tokio::spawn(ProxyPresence::with(TIMING).run(index.clone(), file, Metrics::new(), stop));
    until_announced(&index, &["closed"]).await;
    assert!(begun.elapsed() >= TIMING.grace);
}

#[tokio::test]
async fn after_a_stall_proxies_have_time_to_reconnect() {
    let index = two_served();
    let dir = tempfile::tempdir().unwrap();
    let presence = ProxyPresence::with(TIMING);
    let file = Arc::new(ServedFile::open(&dir.path().join("served.json")).0);
    let proxy = presence.enter("one");
    let stop = CancellationToken::new();
    tokio::spawn(presence.clone().run(index.clone(), file, Metrics::new(), stop));
    stays_announced(&index, &["closed", "open"]).await;
    // As after SIGSTOP and SIGCONT: nothing of this runtime has run, and the streams are found to have ended.
    std::thread::sleep(TIMING.stall * 2);
    let resumed = Instant::now();
    drop(proxy);
    until_announced(&index, &["closed"]).await;
    assert!(resumed.elapsed() >= TIMING.grace);
}

#[tokio::test]
async fn every_node_is_told_what_opted_in_to_splicing() {
    let splice =
        |pod: String| pod.replace("enabled}", "enabled, config.weft.dev/splice-ports: \"6379,7000-7001\"}");
    let service = "---\n{apiVersion: v1, kind: Service, metadata: {name: a, namespace: demo, annotations: \
                   {config.weft.dev/splice-ports: \"80\"}}, spec: {clusterIP: 10.96.0.9, selector: \
                   {linkerd.io/proxy-deployment: web}, ports: [{name: one, port: 80, targetPort: 8080}, {name: two, \
                   port: 6379}, {name: three, port: 90}]}}\n";
    let other = pod("other", "two", "1", "").replace("10.0.0.1", "10.0.0.2").replace("web", "db");
    let text = splice(pod("a", "one", "1", "")) + &other + service;
    let running = Running::start(&text).await;
    let mut stream =
        running.node().watch(bearer(watch_of("two"), &running.token("two"))).await.unwrap().into_inner();
    let Kind::Snapshot(snapshot) = next(&mut stream).await else { panic!() };
    let lines = |splice: weft_api::node::Splice| -> Vec<String> {
        let ports = |list: &[PortRange]| -> Vec<(u32, u32)> {
            list.iter().map(|range| (range.start, range.end)).collect()
        };
        let line = |at: &weft_api::node::SpliceAddress| {
            format!("{} {:?} {:?}", at.ip, ports(&at.with_source), ports(&at.by_service))
        };
        splice.addresses.iter().map(line).collect()
    };
    assert_eq!(
        lines(snapshot.splice.unwrap()),
        ["10.0.0.1 [(6379, 6379), (7000, 7001)] [(8080, 8080)]", "10.96.0.9 [(6379, 6379)] [(80, 80)]"]
    );

    // The workload no longer opts in; its service still does.
    running.manifest(&(pod("a", "one", "1", "") + &other + service));
    let Kind::Splice(splice) = next(&mut stream).await else { panic!() };
    assert_eq!(lines(splice), ["10.0.0.1 [] [(8080, 8080)]", "10.96.0.9 [] [(80, 80)]"]);
}
