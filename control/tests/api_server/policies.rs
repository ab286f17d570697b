//! Policies with mistakes: refused by their definitions, refused by the webhook, and ignored if they are stored anyway.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{Api, Client, api::DeleteParams};
use serde_json::json;
use weft_control::settings::Policy;

use crate::{
    api_server::{ApiServer, WEBHOOK_NAME},
    objects::{create, policy_of},
    running::{Running, eventually},
};

const CONFIGURATION: &str = "weft-policy-validator-webhook-config";

pub(crate) fn definitions_refuse_mistakes_that_a_schema_can_find(server: &ApiServer) {
    let selector = "podSelector: {matchLabels: {app: web}}";
    let target = "targetRef: {group: policy.linkerd.io, kind: Server, name: web}";
    let mesh_tls = "{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: a}";
    for (version, kind, spec, field) in [
        (
            "v1beta3",
            "Server",
            format!("{{{selector}, port: 80, accessPolicy: everybody}}"),
            "spec.accessPolicy",
        ),
        ("v1beta3", "Server", format!("{{{selector}, port: 80, proxyProtocol: SMTP}}"), "spec.proxyProtocol"),
        ("v1beta3", "Server", format!("{{{selector}, port: 70000}}"), "spec.port"),
        ("v1beta3", "Server", format!("{{{selector}, port: UPPER}}"), "spec.port"),
        ("v1beta3", "Server", "{port: 80}".into(), "podSelector"),
        (
            "v1beta1",
            "ServerAuthorization",
            "{server: {name: web, selector: {}}, client: {}}".into(),
            "spec.server",
        ),
        (
            "v1beta1",
            "ServerAuthorization",
            "{server: {name: web}, client: {unauthenticated: true, meshTLS: {identities: ['*']}}}".into(),
            "spec.client",
        ),
        (
            "v1alpha1",
            "AuthorizationPolicy",
            "{targetRef: {group: apps, kind: Deployment, name: web}, requiredAuthenticationRefs: []}".into(),
            "spec.targetRef",
        ),
        (
            "v1alpha1",
            "AuthorizationPolicy",
            format!(
                "{{{target}, requiredAuthenticationRefs: [{mesh_tls}, {{kind: ServiceAccount, name: a}}]}}"
            ),
            "spec.requiredAuthenticationRefs",
        ),
        (
            "v1alpha1",
            "AuthorizationPolicy",
            format!("{{{target}, requiredAuthenticationRefs: [{{kind: Secret, name: a}}]}}"),
            "spec.requiredAuthenticationRefs[0]",
        ),
        ("v1alpha1", "MeshTLSAuthentication", "{identities: ['no*star']}".into(), "spec.identities[0]"),
        ("v1alpha1", "MeshTLSAuthentication", "{}".into(), "spec"),
        (
            "v1alpha1",
            "MeshTLSAuthentication",
            "{identityRefs: [{kind: Namespace, name: a, namespace: a}]}".into(),
            "spec.identityRefs[0]",
        ),
        ("v1alpha1", "NetworkAuthentication", "{networks: []}".into(), "spec.networks"),
        (
            "v1alpha1",
            "NetworkAuthentication",
            "{networks: [{cidr: 10.0.0.0/33}]}".into(),
            "spec.networks[0].cidr",
        ),
    ] {
        let error = server.try_apply(&object(version, kind, "bad", &spec)).expect_err(&spec);
        assert!(error.contains(field), "{kind} {spec}: {error}");
    }
    for (version, kind, spec) in [
        ("v1beta1", "Server", format!("{{{selector}, port: http}}")),
        (
            "v1beta1",
            "ServerAuthorization",
            "{server: {selector: {}}, client: {networks: [{cidr: 10.0.0.1}]}}".into(),
        ),
        (
            "v1alpha1",
            "AuthorizationPolicy",
            format!("{{{target}, requiredAuthenticationRefs: [{mesh_tls}]}}"),
        ),
        (
            "v1alpha1",
            "MeshTLSAuthentication",
            "{identities: ['*', '*.demo.serviceaccount.identity.weft.cluster.local']}".into(),
        ),
        (
            "v1alpha1",
            "NetworkAuthentication",
            "{networks: [{cidr: 'fd00::/8', except: ['fd00:1::/32']}]}".into(),
        ),
    ] {
        server.try_apply(&object(version, kind, "good", &spec)).unwrap();
    }
    for short in ["srv", "saz", "authzpolicy", "meshtlsauthn", "netauthn"] {
        let output = server.kubectl(&["-n", "demo", "get", short, "good"]);
        assert!(output.status.success(), "{short}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for kind in [
        "Server",
        "ServerAuthorization",
        "AuthorizationPolicy",
        "MeshTLSAuthentication",
        "NetworkAuthentication",
    ] {
        assert!(server.kubectl(&["-n", "demo", "delete", kind, "good"]).status.success());
    }
}

pub(crate) async fn the_webhook_refuses_the_others_and_names_the_field(
    control: &Running,
    server: &ApiServer,
    client: &Client,
) {
    let port = control.address("webhook-address").port();
    let webhook = json!({
        "name": "weft-policy-validator.linkerd.io",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": format!("https://{WEBHOOK_NAME}:{port}/")},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "rules": [{
            "operations": ["CREATE", "UPDATE"],
            "apiGroups": ["policy.linkerd.io"],
            "apiVersions": ["*"],
            "resources": ["*"],
        }],
    });
    let configuration = json!({"metadata": {"name": CONFIGURATION}, "webhooks": [webhook]});
    create::<ValidatingWebhookConfiguration>(client, configuration).await;
    let good = object("v1alpha1", "NetworkAuthentication", "good", "{networks: [{cidr: 10.0.0.0/8}]}");
    // The first attempts may come before the caBundle.
    eventually("the webhook answers", async || server.try_apply(&good).is_ok()).await;

    let except = "{networks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/8]}]}";
    let error = server.try_apply(&object("v1alpha1", "NetworkAuthentication", "good", except)).unwrap_err();
    assert!(error.contains("denied the request"), "{error}");
    assert!(error.contains("spec.networks[0].except[1]: 11.0.0.0/8 is not a part of 10.0.0.0/8"), "{error}");
    let other = "{targetRef: {kind: Namespace, name: other}, requiredAuthenticationRefs: []}";
    let error = server.try_apply(&object("v1alpha1", "AuthorizationPolicy", "bad", other)).unwrap_err();
    assert!(error.contains("spec.targetRef.name"), "{error}");
    let refused =
        control.metric("webhook_reviews_total{kind=\"AuthorizationPolicy\",result=\"refused\"}").await;
    assert_eq!(refused, 1.0);

    // Somebody who installs the configuration again removes the bundle: it comes back.
    let unset = r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#;
    let output = server.kubectl(&[
        "patch",
        "validatingwebhookconfiguration",
        CONFIGURATION,
        "--type=json",
        "-p",
        unset,
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    eventually("the bundle is back", async || {
        let configuration = configurations.get(CONFIGURATION).await.unwrap();
        configuration.webhooks.unwrap()[0].client_config.ca_bundle.is_some()
    })
    .await;
}

pub(crate) async fn a_bad_policy_that_was_stored_anyway_is_ignored(
    control: &Running,
    server: &ApiServer,
    client: &Client,
) {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    configurations.delete(CONFIGURATION, &DeleteParams::default()).await.unwrap();
    let other = "{targetRef: {kind: Namespace, name: other}, requiredAuthenticationRefs: []}";
    eventually("it is stored", async || {
        server.try_apply(&object("v1alpha1", "AuthorizationPolicy", "bad", other)).is_ok()
    })
    .await;
    eventually("the Server applies", async || {
        policy_of(control, "web", 80) == Some(Policy::AllAuthenticated)
    })
    .await;
    assert_eq!(control.watch_metric("connected", "AuthorizationPolicy").await, 1.0);
}

fn object(version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: policy.linkerd.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: demo}}\nspec: {spec}\n"
    )
}
