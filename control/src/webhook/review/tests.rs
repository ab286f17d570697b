//! Checks which objects the webhook refuses, and what it says about them.

use serde_json::json;

use super::*;

fn review(operation: &str, kind: &str, version: &str, object: Value) -> Answer {
    let mut object = object;
    object["apiVersion"] = format!("policy.linkerd.io/{version}").into();
    object["kind"] = kind.into();
    let kind = json!({"group": "policy.linkerd.io", "version": version, "kind": kind});
    let body = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": kind,
            "resource": {"group": "policy.linkerd.io", "version": version, "resource": "x"},
            "name": "x",
            "namespace": "demo",
            "operation": operation,
            "userInfo": {},
            "object": object,
            "oldObject": null,
        },
    });
    answer(body.to_string().as_bytes()).unwrap()
}

fn refusal(answer: Answer) -> String {
    let response = answer.review.response.unwrap();
    assert_eq!(response.uid, "u-1");
    assert!(!response.allowed);
    response.result.message
}

fn policy(target: Value, refs: Value) -> Value {
    json!({
        "metadata": {"name": "x", "namespace": "demo"},
        "spec": {"targetRef": target, "requiredAuthenticationRefs": refs},
    })
}

#[test]
fn a_refusal_names_the_field_and_what_to_write() {
    let object = policy(json!({"group": "apps", "kind": "Deployment", "name": "web"}), json!([]));
    let answer = review("CREATE", "AuthorizationPolicy", "v1alpha1", object);
    assert_eq!((answer.kind, answer.result), ("AuthorizationPolicy", "refused"));
    let text = refusal(answer);
    assert!(text.starts_with("spec.targetRef.kind: "), "{text}");
    assert!(text.contains("kind: Server"), "{text}");
}

#[test]
fn all_mistakes_of_an_object_are_told_at_once() {
    let spec =
        json!({"networks": [{"cidr": "10.0.0.0/33"}, {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}]});
    let object = json!({"metadata": {"name": "x"}, "spec": spec});
    let text = refusal(review("UPDATE", "NetworkAuthentication", "v1alpha1", object));
    assert!(text.contains("spec.networks[0].cidr") && text.contains("spec.networks[1].except[0]"), "{text}");
}

#[test]
fn what_linkerd_refuses_is_refused() {
    let group = "policy.linkerd.io";
    let server = json!({"group": group, "kind": "Server", "name": "s"});
    let mesh_tls = json!({"group": group, "kind": "MeshTLSAuthentication", "name": "a"});
    let network = json!({"group": group, "kind": "NetworkAuthentication", "name": "a"});
    let account = json!({"kind": "ServiceAccount", "name": "a"});
    let spec = |spec: Value| json!({"metadata": {"name": "x"}, "spec": spec});
    let network_spec = |network: Value| spec(json!({"networks": [network]}));
    let authorization = |client: Value| spec(json!({"server": {"name": "s"}, "client": client}));
    for (kind, version, object) in [
        ("AuthorizationPolicy", "v1alpha1", policy(json!({"kind": "Namespace", "name": "other"}), json!([]))),
        ("AuthorizationPolicy", "v1alpha1", policy(server.clone(), json!([mesh_tls, mesh_tls]))),
        ("AuthorizationPolicy", "v1alpha1", policy(server.clone(), json!([account, account]))),
        ("AuthorizationPolicy", "v1alpha1", policy(server.clone(), json!([network, network]))),
        ("AuthorizationPolicy", "v1alpha1", policy(server.clone(), json!([mesh_tls, account]))),
        ("AuthorizationPolicy", "v1alpha1", policy(server.clone(), json!([server]))),
        ("MeshTLSAuthentication", "v1alpha1", spec(json!({"identities": ["no*star"]}))),
        (
            "MeshTLSAuthentication",
            "v1alpha1",
            spec(json!({"identityRefs": [{"kind": "Server", "name": "s"}]})),
        ),
        (
            "MeshTLSAuthentication",
            "v1alpha1",
            spec(json!({"identityRefs": [{"kind": "Namespace", "name": "a", "namespace": "a"}]})),
        ),
        ("NetworkAuthentication", "v1alpha1", spec(json!({"networks": []}))),
        (
            "NetworkAuthentication",
            "v1alpha1",
            network_spec(json!({"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]})),
        ),
        ("Server", "v1beta3", spec(json!({"podSelector": {}, "port": 80, "accessPolicy": "everybody"}))),
        (
            "ServerAuthorization",
            "v1beta1",
            authorization(json!({"unauthenticated": true, "meshTLS": {"identities": ["*"]}})),
        ),
    ] {
        let text = object.to_string();
        assert_eq!(review("CREATE", kind, version, object).result, "refused", "{kind} {text}");
    }
}

#[test]
fn valid_objects_are_allowed_also_with_a_generated_name() {
    let server = json!({"group": "policy.linkerd.io", "kind": "Server", "name": "s"});
    let mut object = policy(server, json!([{"kind": "ServiceAccount", "name": "a"}]));
    assert_eq!(review("CREATE", "AuthorizationPolicy", "v1alpha1", object.clone()).result, "allowed");
    object["metadata"] = json!({"generateName": "x-"});
    assert_eq!(review("CREATE", "AuthorizationPolicy", "v1alpha1", object).result, "allowed");
}

#[test]
fn what_is_deleted_or_of_another_kind_is_not_checked() {
    let object = json!({
        "metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"networks": [{"cidr": "bad"}]},
    });
    assert_eq!(review("UPDATE", "NetworkAuthentication", "v1alpha1", object).result, "allowed");
    let other = review("CREATE", "HTTPRoute", "v1beta3", json!({"metadata": {"name": "x"}}));
    assert_eq!((other.kind, other.result), ("other", "allowed"));
}

#[test]
fn what_is_no_review_is_an_error_that_says_so() {
    assert!(answer(b"{").unwrap_err().contains("AdmissionReview"));
    let empty = br#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#;
    assert!(answer(empty).unwrap_err().contains("request"));
}
