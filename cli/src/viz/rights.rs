//! Compares the rights that the chart of weft-viz grants with those that its roles use.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weft_control::kubernetes::Right;
use weft_viz::rights::{self, Rights};

use crate::chart::{Release, VIZ};

const CONTROL_PLANE: &str = "mesh";
const KUBE_SYSTEM: &str = "kube-system";
/// A role that every cluster has. It grants to get, list and watch the one ConfigMap.
const BUILT_IN: &str = "extension-apiserver-authentication-reader";

/// The objects of the chart.
struct Chart(Vec<Value>);

impl Chart {
    fn render(values: &Value) -> Self {
        let mut values = values.clone();
        values["linkerdNamespace"] = json!(CONTROL_PLANE);
        let release = Release { namespace: "weft-viz".to_owned(), upgrade: false };
        Self(VIZ.render(&values, &release).unwrap().into_iter().map(|document| document.object).collect())
    }

    /// The names of the roles of this kind that a service account has in a namespace; none is the whole cluster.
    fn roles_of(&self, account: &str, namespace: Option<&str>) -> Vec<&str> {
        let binding = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
        let is_for = |subject: &Value| subject["kind"] == "ServiceAccount" && subject["name"] == account;
        let bindings = self.0.iter().filter(|object| {
            object["kind"] == binding
                && object["metadata"]["namespace"].as_str() == namespace
                && object["subjects"].as_array().unwrap().iter().any(is_for)
        });
        bindings.map(|binding| binding["roleRef"]["name"].as_str().unwrap()).collect()
    }

    /// What a service account may, as `VERB RESOURCE.GROUP NAMES`.
    fn granted(&self, account: &str, namespace: Option<&str>) -> BTreeSet<String> {
        let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
        let mut all = BTreeSet::new();
        for role in self.roles_of(account, namespace).into_iter().filter(|role| *role != BUILT_IN) {
            let is_role = |object: &&Value| {
                object["kind"] == kind
                    && object["metadata"]["name"] == role
                    && object["metadata"]["namespace"].as_str() == namespace
            };
            let found = self.0.iter().find(is_role).unwrap_or_else(|| panic!("there is no {kind} {role}"));
            all.extend(found["rules"].as_array().unwrap().iter().flat_map(entries));
        }
        all
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn entries(rule: &Value) -> BTreeSet<String> {
    assert!(rule["nonResourceURLs"].is_null(), "{rule}");
    let names = texts(&rule["resourceNames"]).join(",");
    let mut all = BTreeSet::new();
    for group in texts(&rule["apiGroups"]) {
        for resource in texts(&rule["resources"]) {
            all.extend(texts(&rule["verbs"]).iter().map(|verb| format!("{verb} {resource}.{group} {names}")));
        }
    }
    all
}

fn used(rights: &[Right]) -> BTreeSet<String> {
    let of = |right: &Right| {
        let Right { group, resource, names, verbs } = right.clone();
        verbs.into_iter().map(move |verb| format!("{verb} {resource}.{group} {}", names.join(",")))
    };
    rights.iter().flat_map(of).collect()
}

fn compare(chart: &Chart, account: &str, rights: &Rights) {
    for (namespace, used) in
        [(None, used(&rights.cluster)), (Some(CONTROL_PLANE), used(&rights.control_plane))]
    {
        let granted = chart.granted(account, namespace);
        let missing: Vec<_> = used.difference(&granted).collect();
        let idle: Vec<_> = granted.difference(&used).collect();
        assert!(missing.is_empty(), "the chart does not grant {account} {missing:?}");
        assert!(idle.is_empty(), "{account} does not use {idle:?}");
    }
    assert!(chart.granted(account, Some("weft-viz")).is_empty(), "{account} uses nothing in its namespace");
}

#[test]
fn the_dashboard_has_exactly_the_rights_that_it_uses() {
    compare(&Chart::render(&json!({})), "web", &rights::web(true));
    let restricted = Chart::render(&json!({"dashboard": {"restrictPrivileges": true}}));
    compare(&restricted, "web", &rights::web(false));
}

#[test]
fn the_tap_api_has_exactly_the_rights_that_it_uses() {
    let chart = Chart::render(&json!({}));
    let used = rights::tap();
    compare(&chart, "tap", &used);
    let built_in = used.kube_system.iter().all(|right| right.names == ["extension-apiserver-authentication"]);
    assert!(built_in, "another right in {KUBE_SYSTEM} needs another role");
    assert_eq!(chart.roles_of("tap", Some(KUBE_SYSTEM)), [BUILT_IN]);
    assert!(chart.roles_of("web", Some(KUBE_SYSTEM)).is_empty());
}

#[test]
fn the_dashboard_only_reads_and_nobody_reads_secrets() {
    let chart = Chart::render(&json!({}));
    let places = [None, Some(CONTROL_PLANE), Some("weft-viz")];
    for account in ["web", "tap", "prometheus"] {
        let all: Vec<_> = places.iter().flat_map(|place| chart.granted(account, *place)).collect();
        assert!(!all.is_empty(), "{account} has no rights at all");
        for entry in all {
            let (verb, what) = entry.split_once(' ').unwrap();
            assert!(!what.starts_with("secrets.") && !what.starts_with("*. "), "{account}: {entry}");
            assert!(verb != "*" && !what.contains(".*"), "{account}: {entry}");
            if account != "tap" {
                assert!(["get", "list", "watch"].contains(&verb), "{account} only reads, but may {entry}");
            }
        }
    }
}
