//! Checks which tokens of Kubernetes service accounts are accepted, for what, and for how long.

use std::{sync::Arc, time::Duration};

use tempfile::TempDir;
use tonic::{Code, Request};
use weft_api::linkerd::identity::{CertifyRequest, identity_server::Identity};

use super::{
    super::{
        Authenticator, AuthorityConfig, Caller, CertificateAuthority, Identities,
        caller::AuthenticationError,
        reviews::{Timing, TokenReviews},
    },
    api_server::{ApiServer, token},
    request,
};
use crate::{
    index::{Index, Served},
    metrics::Metrics,
    model::{Event, Key, Kind},
    readiness::{ProxyPods, Readiness},
    testing::{applied, mesh},
};

const AUDIENCE: &str = "identity.l5d.io";
const WEB: &str = "web.demo.serviceaccount.identity.linkerd.cluster.local";
const PROXY: &str = "linkerd:weft-proxy";

/// The proxies of two nodes, a pod outside the mesh, and meshed pods on both nodes.
const PODS: &str = r#"
{apiVersion: v1, kind: Pod, metadata: {name: weft-proxy-a, namespace: linkerd, uid: p1},
 spec: {nodeName: a, serviceAccountName: weft-proxy, hostNetwork: true}}
---
{apiVersion: v1, kind: Pod, metadata: {name: weft-proxy-b, namespace: linkerd, uid: p2},
 spec: {nodeName: b, serviceAccountName: weft-proxy, hostNetwork: true}}
---
{apiVersion: v1, kind: Pod, metadata: {name: weft-proxy-new, namespace: linkerd, uid: p3},
 spec: {serviceAccountName: weft-proxy, hostNetwork: true}}
---
{apiVersion: v1, kind: Pod, metadata: {name: weft-control-1, namespace: linkerd, uid: c1,
 annotations: {linkerd.io/inject: enabled}}, spec: {nodeName: a, serviceAccountName: weft-control}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: demo, uid: w1,
 annotations: {linkerd.io/inject: enabled}}, spec: {nodeName: a, serviceAccountName: web}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: demo, uid: d1,
 annotations: {linkerd.io/inject: enabled}}, spec: {nodeName: b, serviceAccountName: db}}
---
{apiVersion: v1, kind: Pod, metadata: {name: plain, namespace: demo, uid: u1},
 spec: {nodeName: a, serviceAccountName: plain}}
"#;

const TIMING: Timing = Timing {
    fresh: Duration::from_secs(60),
    stale: Duration::from_secs(600),
    refused: Duration::from_secs(10),
};

/// A control plane that has tokens reviewed.
struct World {
    api: ApiServer,
    index: Arc<Index>,
    identities: Identities,
    reviews: Arc<TokenReviews>,
    metrics: Metrics,
    _dir: TempDir,
}

impl World {
    async fn start() -> Self {
        Self::with(TIMING).await
    }

    async fn with(timing: Timing) -> Self {
        let (api, client) = ApiServer::start().await;
        let (mesh, metrics, dir) = (Arc::new(mesh()), Metrics::new(), TempDir::new().unwrap());
        let index = Arc::new(Index::new(Served::new()));
        index.apply(applied(PODS));
        let config = AuthorityConfig {
            issuer_dir: None,
            trust_anchors_file: None,
            lifetime: Duration::from_secs(3600),
            clock_skew: Duration::from_secs(20),
        };
        let authority = CertificateAuthority::open(&config, dir.path(), &mesh, metrics.clone()).unwrap();
        let proxies = ProxyPods { namespace: "linkerd".into(), service_account: "weft-proxy" };
        let readiness = Readiness::new(proxies);
        readiness.skip();
        let reviews = TokenReviews::with_timing(client, mesh.clone(), index.clone(), metrics.clone(), timing);
        let reviews = Arc::new(reviews);
        let identities = Identities {
            mesh,
            index: index.clone(),
            authority: Arc::new(authority),
            authenticator: Authenticator::Reviews(reviews.clone()),
            readiness,
            lifetime: config.lifetime,
            metrics: metrics.clone(),
        };
        Self { api, index, identities, reviews, metrics, _dir: dir }
    }

    /// A genuine token of a pod.
    fn token(&self, account: &str, pod: &str, uid: &str, node: &str) -> String {
        let token = token(&format!("{account}/{pod}"), AUDIENCE, 3600);
        self.api.knows(&token, account, pod, uid, Some(node));
        token
    }

    async fn caller(&self, token: &str) -> Result<Caller, AuthenticationError> {
        self.reviews.authenticate(token.as_bytes()).await
    }

    async fn certify(&self, token: &str, identity: &str) -> Result<(), (Code, String)> {
        let message = CertifyRequest {
            identity: identity.into(),
            token: token.as_bytes().to_vec(),
            certificate_signing_request: request(&[identity]),
        };
        let answer = Identity::certify(&self.identities, Request::new(message)).await;
        answer.map(drop).map_err(|status| (status.code(), status.message().to_owned()))
    }
}

fn node(name: &str) -> Caller {
    Caller::NodeProxy { node: name.into() }
}

#[tokio::test]
async fn the_token_of_a_live_proxy_pod_stands_for_its_node() {
    let world = World::start().await;
    let a = world.token(PROXY, "weft-proxy-a", "p1", "a");
    assert_eq!(world.caller(&a).await, Ok(node("a")));
    assert!(world.caller(&format!("{a}\n")).await.is_err(), "the caller trims tokens");
    // Kubernetes before 1.30 does not name the node: the index does.
    let old = token("old", AUDIENCE, 3600);
    world.api.knows(&old, PROXY, "weft-proxy-b", "p2", None);
    assert_eq!(world.caller(&old).await, Ok(node("b")));
    let web = world.token("demo:web", "web", "w1", "a");
    let workload = Caller::Workload { namespace: "demo".into(), service_account: "web".into() };
    assert_eq!(world.caller(&web).await, Ok(workload));
}

#[tokio::test]
async fn every_condition_of_a_proxys_token_is_checked() {
    let world = World::start().await;
    let with = |name: &str, account: &str, pod: &str, uid: &str, node: &str| {
        let token = token(name, AUDIENCE, 3600);
        world.api.knows(&token, account, pod, uid, Some(node));
        token
    };
    let unbound = token("unbound", AUDIENCE, 3600);
    world.api.knows_user(&unbound, "system:serviceaccount:linkerd:weft-proxy");
    let user = token("user", AUDIENCE, 3600);
    world.api.knows_user(&user, "jane");
    let for_others = token("for others", "https://kubernetes.default.svc", 3600);
    world.api.knows(&for_others, PROXY, "weft-proxy-a", "p1", Some("a"));
    let expired = token("expired", AUDIENCE, -1);
    world.api.knows(&expired, PROXY, "weft-proxy-a", "p1", Some("a"));
    for (token, text) in [
        (with("gone", PROXY, "weft-proxy-z", "p9", "a"), "linkerd/weft-proxy-z with uid p9 is not known"),
        (with("replaced", PROXY, "weft-proxy-a", "p0", "a"), "linkerd/weft-proxy-a with uid p0 is not known"),
        (with("elsewhere", PROXY, "weft-proxy-a", "p1", "b"), "is on node a, but the token is bound to b"),
        (with("unscheduled", PROXY, "weft-proxy-new", "p3", "a"), "is on no node"),
        (with("other account", PROXY, "weft-control-1", "c1", "a"), "has the service account weft-control"),
        (with("dead workload", "demo:web", "web", "w0", "a"), "demo/web with uid w0 is not known"),
        (unbound, "not bound to a pod"),
        (user, "belongs to no service account"),
        (for_others, "for another audience than identity.l5d.io"),
        (expired, "has expired"),
        (token("forged", AUDIENCE, 3600), "invalid bearer token"),
        ("not a token".into(), "no service account token"),
        ("a.b.c".into(), "no service account token"),
        (format!("e30.{}.c2ln", "A".repeat(9000)), "no service account token"),
    ] {
        let error = world.caller(&token).await.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert!(!error.contains(&token), "{error}");
    }
}

#[tokio::test]
async fn a_token_without_its_pod_is_refused_although_its_review_is_kept() {
    let world = World::start().await;
    let a = world.token(PROXY, "weft-proxy-a", "p1", "a");
    assert_eq!(world.caller(&a).await, Ok(node("a")));
    let gone = Key { kind: Kind::Pod, namespace: "linkerd".into(), name: "weft-proxy-a".into() };
    world.index.apply([Event::Deleted(gone)]);
    let error = world.caller(&a).await.unwrap_err();
    assert!(matches!(error, AuthenticationError::NotTheProxy(_)), "{error}");
    assert_eq!(world.api.reviews(), 1);
}

#[tokio::test]
async fn a_node_proxy_gets_certificates_for_the_meshed_pods_of_its_node_only() {
    let world = World::start().await;
    let a = world.token(PROXY, "weft-proxy-a", "p1", "a");
    let identity = |name: &str| WEB.replace("web.demo", name);
    assert_eq!(world.certify(&a, WEB).await, Ok(()));
    // Its own, by which the tap service knows it.
    assert_eq!(world.certify(&a, &identity("weft-proxy.linkerd")).await, Ok(()));
    for (name, text) in [
        ("db.demo", "node a has no meshed pod with service account demo/db"),
        ("plain.demo", "node a has no meshed pod with service account demo/plain"),
        ("weft-proxy.demo", "no meshed pod with service account demo/weft-proxy"),
        ("weft-control.linkerd", "which issues it to itself only"),
    ] {
        let (code, error) = world.certify(&a, &identity(name)).await.unwrap_err();
        assert_eq!(code, Code::PermissionDenied, "{error}");
        assert!(error.contains(text), "{error}");
    }
    let forged = world.certify(&token("forged", AUDIENCE, 3600), WEB).await.unwrap_err();
    assert_eq!(forged.0, Code::Unauthenticated);
    let metrics = world.metrics.text();
    for reason in ["not_on_node", "reserved", "bad_token"] {
        let line = format!("weft_control_certificates_refused_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_sidecar_gets_a_certificate_for_its_own_service_account_only() {
    let world = World::start().await;
    let web = world.token("demo:web", "web", "w1", "a");
    assert_eq!(world.certify(&web, WEB).await, Ok(()));
    for name in ["db.demo", "web.other", "weft-control.linkerd", "weft-proxy.linkerd"] {
        let (code, error) = world.certify(&web, &WEB.replace("web.demo", name)).await.unwrap_err();
        assert_eq!(code, Code::PermissionDenied, "{error}");
    }
    // Not even with the control plane's own token.
    let control = world.token("linkerd:weft-control", "weft-control-1", "c1", "a");
    let own = world.certify(&control, &WEB.replace("web.demo", "weft-control.linkerd")).await;
    assert_eq!(own.unwrap_err().0, Code::PermissionDenied);
}

#[tokio::test]
async fn answers_of_the_api_server_are_kept() {
    let world = World::start().await;
    let a = world.token(PROXY, "weft-proxy-a", "p1", "a");
    let forged = token("forged", AUDIENCE, 3600);
    for _ in 0..3 {
        assert!(world.caller(&a).await.is_ok());
        assert!(world.caller(&forged).await.is_err());
    }
    assert_eq!(world.api.reviews(), 2);
}

#[tokio::test]
async fn a_token_that_is_no_longer_valid_is_refused_at_the_next_review() {
    let world = World::with(Timing { fresh: Duration::ZERO, ..TIMING }).await;
    let a = world.token(PROXY, "weft-proxy-a", "p1", "a");
    assert!(world.caller(&a).await.is_ok());
    world.api.forgets(&a);
    assert!(matches!(world.caller(&a).await, Err(AuthenticationError::Invalid(_))));
    // An earlier review does not count any more.
    world.api.set_down(true);
    assert!(world.caller(&a).await.is_err());
}

#[tokio::test]
async fn without_the_api_server_only_tokens_that_it_has_accepted_are_valid_and_for_a_while() {
    let world = World::with(Timing { fresh: Duration::ZERO, ..TIMING }).await;
    let (a, b) =
        (world.token(PROXY, "weft-proxy-a", "p1", "a"), world.token(PROXY, "weft-proxy-b", "p2", "b"));
    assert!(world.caller(&a).await.is_ok());
    world.api.set_down(true);
    for _ in 0..3 {
        assert_eq!(world.caller(&a).await, Ok(node("a")));
        let error = world.caller(&b).await.unwrap_err();
        assert!(matches!(error, AuthenticationError::Unavailable(_)), "{error}");
    }
    assert!(world.metrics.text().contains("weft_control_token_reviews_total{result=\"stale\"}"));
    world.api.set_down(false);
    crate::testing::within(async {
        while world.caller(&b).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    let world = World::with(Timing { fresh: Duration::ZERO, stale: Duration::ZERO, ..TIMING }).await;
    let a = world.token(PROXY, "weft-proxy-a", "p1", "a");
    assert!(world.caller(&a).await.is_ok());
    world.api.set_down(true);
    assert!(matches!(world.caller(&a).await, Err(AuthenticationError::Unavailable(_))));
}
