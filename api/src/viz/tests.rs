//! Samples of the contract are read and written without a difference.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::*;

fn same<T: Serialize + DeserializeOwned>(sample: Value) {
    let read: T = serde_json::from_value(sample.clone()).expect("the sample is valid");
    assert_eq!(serde_json::to_value(read).expect("it can be written"), sample);
}

fn http() -> Value {
    json!({
        "requests": 600.0, "failures": 74.0, "successRate": 0.8767, "rps": 10.0,
        "latencyMs": { "p50": 1.8, "p95": 4.0, "p99": null },
    })
}

fn voting() -> Value {
    json!({ "namespace": "emojivoto", "type": "deployment", "name": "voting" })
}

fn row() -> Value {
    json!({
        "namespace": "emojivoto", "type": "deployment", "name": "voting", "status": "2/2 ready",
        "pods": { "meshed": 2, "running": 2, "failed": 0 }, "http": http(),
        "tcp": { "openConnections": 2.0, "readBytesPerSecond": 10.5, "writeBytesPerSecond": 0.0 },
        "spark": { "from": 100.0, "step": 10.0, "successRate": [1.0, null], "rps": [2.0, null], "p99": [3.0, null] },
        "split": { "apex": "voting", "leaf": "voting-v2", "weight": 10 },
    })
}

#[test]
fn an_answer_has_rows_and_says_what_they_hold_for() {
    let meta = json!({
        "at": 1_700_000_000.5, "window": "10m", "source": "prometheus",
        "warnings": [{ "code": "node_not_scraped", "message": "Figures of node-d are missing." }],
    });
    same::<Answer<Vec<StatRow>>>(json!({ "meta": meta, "data": [row()] }));
}

#[test]
fn an_error_has_a_code_even_one_that_is_not_known() {
    same::<ErrorBody>(json!({ "error": { "code": "too_many_taps", "message": "no", "hint": null } }));
    same::<ErrorBody>(json!({ "error": { "code": "of_the_future", "message": "no", "hint": "wait" } }));
    for code in [ErrorCode::BadRequest, ErrorCode::HostNotAllowed, ErrorCode::ClusterUnavailable] {
        assert_eq!(serde_json::to_value(&code).expect("a code"), json!(code.parts().0));
    }
}

#[test]
fn every_kind_of_problem_has_its_fields_beside_the_common_ones() {
    let kinds = json!([
        { "kind": "success-rate", "resource": voting(), "successRate": 0.85, "baseline": null,
          "baselineSeconds": 360.0, "rps": 1.0,
          "worst": { "method": "POST", "path": "/VoteDoughnut", "requests": 9, "failures": 9 } },
        { "kind": "latency", "resource": voting(), "p99Ms": 100.0, "baselineP99Ms": 20.0,
          "baselineSeconds": 3600.0, "rps": 5.0 },
        { "kind": "plaintext", "source": voting(), "destination": voting(),
          "reason": "not_provided_by_service_discovery", "connections": 2.0 },
        { "kind": "denied", "resource": voting(), "source": null, "clientId": "a.b", "rps": 0.2 },
        { "kind": "certificate", "what": "workload", "identity": "a.b", "node": "n", "expiresAt": 5.0 },
        { "kind": "node-without-proxy", "node": "n", "meshedPods": 3, "lastSeenAt": null },
        { "kind": "node-not-scraped", "node": "n", "lastScrapeAt": 7.0 },
        { "kind": "pod-not-served", "resource": voting(), "node": "n", "reason": "REFUSED" },
    ]);
    for mut problem in kinds.as_array().expect("a list").clone() {
        let common = json!({ "id": "x", "severity": "critical", "since": null, "summary": "It is broken." });
        problem.as_object_mut().expect("an object").extend(common.as_object().expect("an object").clone());
        same::<Problem>(problem);
    }
}

#[test]
fn a_topology_has_the_outside_as_a_node() {
    same::<Topology>(json!({
        "nodes": [{ "id": "outside", "label": "outside the cluster", "namespace": null, "resource": null,
                    "kind": "outside", "pods": null, "http": null }],
        "edges": [{ "id": "outside>emojivoto/deployment/voting", "source": "outside",
                    "target": "emojivoto/deployment/voting", "http": http(),
                    "tcp": { "openConnections": 0.0, "readBytesPerSecond": 0.0, "writeBytesPerSecond": 0.0 },
                    "secured": { "state": "plaintext", "reason": "no_tls_from_remote" } }],
    }));
}

#[test]
fn a_resource_comes_with_its_pods_edges_and_authorizations() {
    let pod = json!({
        "namespace": "emojivoto", "name": "voting-1", "owner": voting(), "node": "n", "phase": "Running",
        "ready": true, "startedAt": 5.0, "meshed": true, "proxy": { "state": "no_proxy", "reason": "none runs" },
        "tap": "not_meshed", "http": null, "tcp": null, "spark": null,
    });
    let edge = json!({
        "source": null, "destination": voting(), "sourceLabel": "10.0.0.1", "destinationLabel": null,
        "clientId": null, "serverId": "a.b", "secured": { "state": "mtls" }, "openConnections": 1.0,
    });
    let authz = json!({
        "server": "default:deny", "route": "default", "authorization": null, "deniedRps": 0.5, "http": null,
        "connections": 3.0,
    });
    same::<ResourceDetail>(json!({
        "row": row(), "identities": ["a.b"], "labels": { "app": "<b>" }, "inbound": [row()], "outbound": [],
        "split": [], "pods": [pod], "edges": [edge], "authorizations": [authz],
        "worst": [{ "method": "GET", "path": "/", "requests": 1, "failures": 1 }], "tap": "allowed",
    }));
}

#[test]
fn nodes_and_the_control_plane() {
    same::<NodeItem>(json!({
        "name": "n", "ready": true, "pods": { "meshed": 1, "running": 2, "failed": 0 },
        "perNamespace": [{ "namespace": "a", "meshed": 1, "running": 2 }],
        "proxy": { "version": "0.1.0", "state": "not_scraped", "reason": "x", "startedAt": null, "lastScrapeAt": 5.0,
                   "memoryBytes": null, "cpuCores": 0.5, "connections": 3.0, "connectionsLimit": null,
                   "controlPlaneConnected": true, "certificateExpiresAt": null },
    }));
    same::<ControlPlane>(json!({
        "components": [{ "name": "control", "namespace": "weft", "version": null, "desired": 1, "pods": [
            { "name": "p", "phase": "Running", "ready": true, "restarts": 2, "startedAt": 1.0 }] }],
        "namespaces": [], "issuer": { "subject": "CN=x", "notBefore": 1.0, "expiresAt": 2.0 }, "anchors": [],
    }));
}

#[test]
fn messages_of_a_tap() {
    let end = json!({ "resource": voting(), "pod": "voting-1", "address": "[fd00::1]:80" });
    same::<TapMessage>(json!({ "type": "started", "pods": 2, "maxRps": 100.0, "skipped": [
        { "pod": "p", "reason": "disabled" }] }));
    same::<TapMessage>(json!({ "type": "dropped", "events": 3 }));
    same::<TapMessage>(
        json!({ "type": "error", "error": { "code": "forbidden", "message": "no", "hint": null } }),
    );
    same::<TapMessage>(json!({ "type": "events", "events": [
        { "id": "1", "at": 5.0, "direction": "inbound", "event": "request", "source": end, "destination": end,
          "tls": "no_identity", "method": "GET", "scheme": null, "authority": "a", "path": "/",
          "headers": [["a", "b"]], "route": null },
        { "id": "1", "at": 5.0, "direction": "outbound", "event": "response", "status": 200, "latencyMs": 1.5,
          "headers": [] },
        { "id": "1", "at": 5.0, "direction": "inbound", "event": "end", "durationMs": 2.0, "responseBytes": 7,
          "grpcStatus": "OK", "reset": null },
    ] }));
}

#[test]
fn types_are_read_from_their_words() {
    assert_eq!("cronjob".parse(), Ok(ResourceType::CronJob));
    assert_eq!(ResourceType::of_plural("statefulsets"), Some(ResourceType::StatefulSet));
    for kind in ResourceType::ALL {
        assert_eq!(serde_json::to_value(kind).expect("a type"), json!(kind.as_str()));
    }
    let message = "deploy".parse::<ResourceType>().expect_err("unknown").to_string();
    assert!(message.starts_with("\"deploy\" is not a type of resource"), "{message}");
}
