//! The answers that the dashboard's tests simulate are those of the real server: its types read and write them.

#![cfg(feature = "viz")]
#![allow(clippy::unwrap_used, reason = "to panic is how a test fails")]

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use weft_api::viz::{
    Answer, AuthzRow, CheckReport, ControlPlane, Edge, ExtensionItem, GatewayItem, NodeItem, Overview,
    PodItem, ResourceDefinition, ResourceDetail, ResourceItem, RouteRow, Series, ServiceItem, StatRow,
    Topology, VersionInfo,
};

/// `viz/web/dev/simulation/contract.test.ts` records it, and compares it with the simulation.
const RECORDED: &str = include_str!("../../viz/web/dev/simulation/recorded.json");

/// The path of the first difference. Numbers differ only if one is none.
fn difference(a: &Value, b: &Value, path: &str) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = |a: &Map<String, Value>, b: &Map<String, Value>| {
                a.keys().find(|name| !b.contains_key(*name)).map(|name| format!("{path}.{name}"))
            };
            missing(a, b).or_else(|| missing(b, a)).or_else(|| {
                a.iter().find_map(|(name, value)| difference(value, &b[name], &format!("{path}.{name}")))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).find_map(|(a, b)| difference(a, b, &format!("{path}[]")))
        }
        (Value::Number(_), Value::Number(_)) => None,
        (a, b) => (a != b).then(|| format!("{path}: {a} and {b}")),
    }
}

fn check<T: Serialize + DeserializeOwned>(call: &str, recorded: &Value) {
    let read: Answer<T> =
        serde_json::from_value(recorded.clone()).unwrap_or_else(|error| panic!("{call}: {error}"));
    let written = serde_json::to_value(read).unwrap();
    assert_eq!(difference(recorded, &written, ""), None, "{call}");
}

#[test]
fn simulated_answers_have_exactly_the_fields_of_real_ones() {
    let recorded: Map<String, Value> = serde_json::from_str(RECORDED).unwrap();
    for (call, answer) in &recorded {
        let name = call.split(['?', '/']).next().unwrap();
        match name {
            "overview" => check::<Overview>(call, answer),
            "tps-reports" => check::<Vec<StatRow>>(call, answer),
            "topology" => check::<Topology>(call, answer),
            "timeseries" => check::<Series>(call, answer),
            "routes" => check::<Vec<RouteRow>>(call, answer),
            "nodes" => check::<Vec<NodeItem>>(call, answer),
            "control-plane" => check::<ControlPlane>(call, answer),
            "check" => check::<CheckReport>(call, answer),
            "extensions" => check::<Vec<ExtensionItem>>(call, answer),
            "gateways" => check::<Vec<GatewayItem>>(call, answer),
            "resources" => check::<Vec<ResourceItem>>(call, answer),
            "version" => check::<VersionInfo>(call, answer),
            "pods" => check::<Vec<PodItem>>(call, answer),
            "services" => check::<Vec<ServiceItem>>(call, answer),
            "edges" => check::<Vec<Edge>>(call, answer),
            "authz" => check::<Vec<AuthzRow>>(call, answer),
            "resource-definition" => check::<ResourceDefinition>(call, answer),
            "resource" => check::<ResourceDetail>(call, answer),
            other => panic!("{other} is not known: add it"),
        }
    }
    assert!(recorded.len() >= 18, "{:?}", recorded.keys());
}
