//! Does a node learn about its workloads, and nobody else?

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tonic::{Code, Request, Streaming};
use weft_api::node::{
    FailMode, InboundPolicy, ReportRequest, State, Update, WatchRequest, Workload, WorkloadRef,
    WorkloadState, update::Kind,
};

use super::{Attendance, ServedFile, attendance::Patience};
use crate::{
    index::{Index, Served},
    metrics::Metrics,
    testing::{Running, bearer, documents, serve_all, within},
};

fn pod(name: &str, node: &str, uid: &str, more: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: demo, uid: \"{uid}\", labels: \
         {{linkerd.io/proxy-deployment: web}}, annotations: {{linkerd.io/inject: enabled}}}}, spec: {{nodeName: \
         {node}, {more}}}, status: {{podIP: 10.0.0.1}}}}\n"
    )
}

fn watch_of(node: &str) -> WatchRequest {
    WatchRequest { node: node.into(), draining: false }
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
    assert_eq!(names(&snapshot.workloads), ["a", "host"]);
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
    for _ in 0..4 {
        kinds.push(match next(&mut stream).await {
            Kind::Remove(gone) => format!("remove {} {}", gone.name, gone.uid),
            Kind::Upsert(new) => {
                let new = new.r#ref.unwrap();
                format!("upsert {} {}", new.name, new.uid)
            }
            Kind::Snapshot(_) => "snapshot".into(),
            Kind::Splice(_) => "splice".into(),
        });
    }
    assert_eq!(kinds, ["remove a 1", "remove host 1", "upsert a 2", "upsert host 2"]);

    running.manifest(&pod("a", "one", "2", "").replace(
        "linkerd.io/inject: enabled",
        "linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: deny",
    ));
    let Kind::Remove(gone) = next(&mut stream).await else { panic!() };
    let Kind::Upsert(changed) = next(&mut stream).await else { panic!() };
    assert_eq!((gone.name.as_str(), changed.fail_mode()), ("host", FailMode::Closed));
    assert_eq!(changed.default_inbound_policy(), InboundPolicy::Deny);
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
        // Of another node: not for this one to say.
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
    // The proxy restarts: what it has not taken up yet is as it was, until it says otherwise.
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
    index.replace(&documents(&(pod("open", "one", "1", "") + &closed)));
    serve_all(&index);
    index
}

fn announced(index: &Index) -> Vec<String> {
    index.snapshot().pods().filter(|pod| pod.served).map(|pod| pod.name.name.clone()).collect()
}

/// Short, so that a test can wait for it.
const PATIENCE: Patience = Patience {
    grace: Duration::from_millis(500),
    look: Duration::from_millis(10),
    standstill: Duration::from_millis(400),
};

async fn until_announced(index: &Index, expected: &[&str]) {
    within(async {
        while announced(index) != expected {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Announced for long enough that anything else would have come by now.
async fn stays_announced(index: &Index, expected: &[&str]) {
    for _ in 0..60 {
        assert_eq!(announced(index), expected);
        sleep(PATIENCE.grace / 40).await;
    }
}

#[tokio::test]
async fn pods_that_fail_open_are_withdrawn_with_their_nodes_last_proxy() {
    let index = two_served();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("served.json");
    let attendance = Attendance::with(PATIENCE);
    let (stop, stopping) = watch::channel(false);
    let file = Arc::new(ServedFile::open(&path).0);
    let following = tokio::spawn(attendance.clone().follow(index.clone(), file, Metrics::new(), stopping));
    let both = ["closed", "open"];

    let old = attendance.enter("one");
    stays_announced(&index, &both).await;
    // One relieves the other.
    let new = attendance.enter("one");
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

    // A belated word of a proxy that is gone does not hold; one of a proxy that is there does.
    serve_all(&index);
    attendance.reported("one");
    until_announced(&index, &["closed"]).await;
    let third = attendance.enter("one");
    serve_all(&index);
    attendance.reported("one");
    stays_announced(&index, &both).await;
    // The control plane ends all streams when it stops.
    stop.send_replace(true);
    drop(third);
    following.await.unwrap();
    assert_eq!(announced(&index), both);
}

#[tokio::test]
async fn a_proxy_that_drains_is_told_of_changes_and_does_not_count() {
    let text = pod("open", "one", "1", "");
    let running = Running::start(&text).await;
    serve_all(&running.index);
    let token = running.token("one");
    let draining = WatchRequest { node: "one".into(), draining: true };
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
async fn nodes_whose_proxy_never_comes_have_time_and_no_more() {
    let index = two_served();
    let dir = tempfile::tempdir().unwrap();
    let file = Arc::new(ServedFile::open(&dir.path().join("served.json")).0);
    let (_stop, stopping) = watch::channel(false);
    let begun = Instant::now();
    tokio::spawn(Attendance::with(PATIENCE).follow(index.clone(), file, Metrics::new(), stopping));
    until_announced(&index, &["closed"]).await;
    assert!(begun.elapsed() >= PATIENCE.grace);
}

#[tokio::test]
async fn after_a_standstill_proxies_have_time_to_come_back() {
    let index = two_served();
    let dir = tempfile::tempdir().unwrap();
    let attendance = Attendance::with(PATIENCE);
    let (_stop, stopping) = watch::channel(false);
    let file = Arc::new(ServedFile::open(&dir.path().join("served.json")).0);
    let proxy = attendance.enter("one");
    tokio::spawn(attendance.clone().follow(index.clone(), file, Metrics::new(), stopping));
    stays_announced(&index, &["closed", "open"]).await;
    // As after SIGSTOP and SIGCONT: nothing of this runtime has run, and the streams are found to have ended.
    std::thread::sleep(PATIENCE.standstill * 2);
    let resumed = Instant::now();
    drop(proxy);
    until_announced(&index, &["closed"]).await;
    assert!(resumed.elapsed() >= PATIENCE.grace);
}

#[tokio::test]
async fn what_opted_in_to_splicing_is_told_to_every_node() {
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
    let told = |splice: weft_api::node::Splice| -> Vec<String> {
        let ports = |list: &[weft_api::node::PortRange]| -> Vec<(u32, u32)> {
            list.iter().map(|range| (range.start, range.end)).collect()
        };
        let line = |at: &weft_api::node::SpliceAddress| {
            format!("{} {:?} {:?}", at.ip, ports(&at.with_source), ports(&at.by_service))
        };
        splice.addresses.iter().map(line).collect()
    };
    assert_eq!(
        told(snapshot.splice.unwrap()),
        ["10.0.0.1 [(6379, 6379), (7000, 7001)] [(8080, 8080)]", "10.96.0.9 [(6379, 6379)] [(80, 80)]"]
    );

    // The workload does not want it any more; its service does still.
    running.manifest(&(pod("a", "one", "1", "") + &other + service));
    let Kind::Splice(splice) = next(&mut stream).await else { panic!() };
    assert_eq!(told(splice), ["10.0.0.1 [] [(8080, 8080)]", "10.96.0.9 [] [(80, 80)]"]);
}
