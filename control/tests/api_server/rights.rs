//! weft-control has exactly the rights that it needs.

use std::{fs, path::Path};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec, TokenReview, TokenReviewSpec},
    core::v1::{Namespace, ServiceAccount},
    rbac::v1::{ClusterRole, PolicyRule},
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use weft_control::{kubernetes, model::Kind};

use crate::{
    api_server::ApiServer,
    objects::create,
    running::{Running, eventually},
};

const NAME: &str = "weft-control";

/// Installs the service account with the rights of the chart, and returns a token for it.
pub(crate) async fn install(server: &ApiServer, client: &Client, charts: &Path) -> String {
    create::<Namespace>(client, json!({"metadata": {"name": "weft"}})).await;
    let template = charts.join("weft-control-plane/templates/control-rbac.yaml");
    let template = fs::read_to_string(template).unwrap();
    let lines = template.lines().filter(|line| !line.trim_start().starts_with("{{-"));
    let yaml: String = lines.map(|line| line.replace("{{ .Release.Namespace }}", "weft") + "\n").collect();
    server.try_apply(&yaml.replace("  labels:\n", "")).unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "weft");
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let token = accounts.create_token_request(NAME, &PostParams::default(), &request).await.unwrap();
    token.status.unwrap().token
}

/// Takes away each right. The watches of different kinds do not depend on each other, so that all rights to list, or to
/// watch, can be missing at once; every kind has to show it for itself.
pub(crate) async fn without_any_one_right_something_fails_and_says_so(admin: &Client, kubeconfig: &Path) {
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    let complete = roles.get(NAME).await.unwrap();
    let own = client(kubeconfig).await;

    set_rules(&roles, &complete, |rule| rule.verbs.retain(|verb| verb != "list")).await;
    eventually("listing is forbidden", async || forbids(&own, "/api/v1/pods").await).await;
    let control = Running::spawn(kubeconfig.to_owned());
    eventually("every kind fails to be listed", async || {
        all_kinds(async |kind| control.watch_metric("failures_total", kind).await >= 1.0).await
    })
    .await;
    let (status, text) = control.get("/ready").await;
    assert_eq!(status, 503, "{text}");
    for kind in Kind::ALL {
        assert!(text.contains(&kind.to_string()), "{kind} is missing in {text}");
    }
    control.stop().await;

    set_rules(&roles, &complete, |rule| rule.verbs.retain(|verb| verb != "watch")).await;
    eventually("listing is allowed again", async || !forbids(&own, "/api/v1/pods").await).await;
    let control = Running::spawn(kubeconfig.to_owned());
    eventually("every kind fails to be watched", async || {
        all_kinds(async |kind| {
            control.watch_metric("lists_total", kind).await >= 1.0
                && control.watch_metric("failures_total", kind).await >= 1.0
                && control.watch_metric("connected", kind).await == 0.0
        })
        .await
    })
    .await;
    control.stop().await;

    let webhooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let configuration = json!({"metadata": {"name": "weft-policy-validator-webhook-config"}, "webhooks": [{
        "name": "weft-policy-validator.linkerd.io",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://localhost/"},
        "failurePolicy": "Ignore",
        "sideEffects": "None",
    }]});
    create::<k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration>(
        admin,
        configuration,
    )
    .await;
    for verb in ["get", "patch"] {
        set_rules(&roles, &complete, |rule| {
            if rule.resources.iter().flatten().any(|resource| resource == "validatingwebhookconfigurations") {
                rule.verbs.retain(|own| own != verb);
            }
        })
        .await;
        let configuration = format!("{webhooks}/weft-policy-validator-webhook-config");
        eventually("the verb is forbidden", async || match verb {
            "get" => forbids(&own, &configuration).await,
            _ => forbids_to_patch(&own, &configuration).await,
        })
        .await;
        let control = Running::spawn(kubeconfig.to_owned());
        eventually("the webhook cannot be registered", async || {
            control.metric("webhook_registration_errors_total").await >= 1.0
        })
        .await;
        control.stop().await;
    }
    set_rules(&roles, &complete, |_| {}).await;
    assert!(forbids(&own, webhooks).await, "it may not list what it need not");
    assert!(forbids(&own, &format!("{webhooks}/other")).await, "it may not read another configuration");
    assert!(forbids(&own, "/api/v1/secrets").await, "it may not read secrets");

    assert!(reviews_tokens(&own).await);
    set_rules(&roles, &complete, |rule| {
        if rule.resources.iter().flatten().any(|resource| resource == "tokenreviews") {
            rule.verbs.clear();
            rule.verbs.push("get".into());
        }
    })
    .await;
    eventually("tokens cannot be reviewed", async || !reviews_tokens(&own).await).await;
    set_rules(&roles, &complete, |_| {}).await;

    let table: Vec<_> = kubernetes::rights().into_iter().map(|right| right.verbs.len()).collect();
    let tested = 2 * Kind::ALL.len() + 3;
    assert_eq!(table.iter().sum::<usize>(), tested, "a right is not tested here");
}

async fn all_kinds(mut holds: impl AsyncFnMut(&str) -> bool) -> bool {
    for kind in Kind::ALL {
        if !holds(&kind.to_string()).await {
            return false;
        }
    }
    true
}

async fn set_rules(roles: &Api<ClusterRole>, complete: &ClusterRole, change: impl Fn(&mut PolicyRule)) {
    let mut role = roles.get(NAME).await.unwrap();
    role.rules = complete.rules.clone();
    role.rules.iter_mut().flatten().for_each(change);
    // A rule needs verbs.
    role.rules.iter_mut().for_each(|rules| rules.retain(|rule| !rule.verbs.is_empty()));
    roles.replace(NAME, &PostParams::default(), &role).await.unwrap();
}

async fn client(kubeconfig: &Path) -> Client {
    let config = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn forbids(client: &Client, path: &str) -> bool {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    matches!(client.request_text(request).await, Err(kube::Error::Api(status)) if status.code == 403)
}

async fn forbids_to_patch(client: &Client, path: &str) -> bool {
    let request = http::Request::patch(path).header("content-type", "application/json-patch+json");
    let request = request.body(b"[]".to_vec()).unwrap();
    matches!(client.request_text(request).await, Err(kube::Error::Api(status)) if status.code == 403)
}

async fn reviews_tokens(client: &Client) -> bool {
    let spec = TokenReviewSpec { token: Some("x".into()), ..TokenReviewSpec::default() };
    let review = TokenReview { spec, ..TokenReview::default() };
    Api::<TokenReview>::all(client.clone()).create(&PostParams::default(), &review).await.is_ok()
}
