//! Does a node learn about its workloads, and nobody else?

use tonic::{Code, Request, Streaming};
use weft_api::node::{
    FailMode, InboundPolicy, ReportRequest, State, Update, WatchRequest, Workload, WorkloadRef,
    WorkloadState, update::Kind,
};

use crate::testing::{Running, bearer, within};

fn pod(name: &str, node: &str, uid: &str, more: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: demo, uid: \"{uid}\", labels: \
         {{linkerd.io/proxy-deployment: web}}, annotations: {{linkerd.io/inject: enabled}}}}, spec: {{nodeName: \
         {node}, {more}}}, status: {{podIP: 10.0.0.1}}}}\n"
    )
}

fn watch(node: &str) -> WatchRequest {
    WatchRequest { node: node.into() }
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
        running.node().watch(bearer(watch("one"), &running.token("one"))).await.unwrap().into_inner();
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
    assert_eq!(code(bearer(watch("two"), &running.token("one"))).await, Code::PermissionDenied);
    assert_eq!(code(bearer(watch("one"), "0123456789abcdef")).await, Code::Unauthenticated);
    assert_eq!(code(Request::new(watch("one"))).await, Code::Unauthenticated);
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
