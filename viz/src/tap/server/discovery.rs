//! The discovery documents of the API group tap.linkerd.io.

use serde_json::{Value, json};
use weft_api::viz::ResourceType;

/// The API group.
pub(super) const GROUP: &str = "tap.linkerd.io";
pub(super) const VERSION: &str = "v1alpha1";

/// `/apis`
pub(super) fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group()]})
}

/// `/apis/tap.linkerd.io`
pub(super) fn group() -> Value {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": GROUP,
        "versions": [version],
        "preferredVersion": version,
    })
}

/// `/apis/tap.linkerd.io/v1alpha1`
pub(super) fn resources() -> Value {
    let resource = |kind: ResourceType| {
        json!({
            "name": format!("{}/tap", kind.plural()),
            "singularName": "",
            "namespaced": kind != ResourceType::Namespace,
            "kind": "Tap",
            "verbs": ["watch"],
        })
    };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": ResourceType::ALL.map(resource),
    })
}
