//! The tap API behind a real API server: who may tap, and who may not.
//!
//! One test, because starting an API server takes longer than everything else here. Its steps are functions whose names
//! are what they show.

// The lint knows tests by their attribute, and most of this is in functions beside them.
#![allow(clippy::unwrap_used)]

mod api_server;
mod direct;
#[path = "../../../control/tests/api_server/programs.rs"]
mod programs;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use clap::Parser;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use weft_control::{FollowedSource, Follower, model::Kind};
use weft_viz::tap::{Server, TapRole, run};

use self::{
    api_server::{ApiServer, free_address},
    programs::Programs,
};

const GROUP: &str = "/apis/tap.linkerd.io/v1alpha1";
const WEB: &str = "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/demo/deployments/web/tap";
const DEMO: &str = "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/demo/tap";

#[tokio::test(flavor = "multi_thread")]
async fn the_tap_api_with_a_real_api_server() {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = ApiServer::start(programs).await;
    let address = free_address();
    install(&server, address);
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let serving = serve(&server, folder.path(), address, stop.clone()).await;

    the_api_server_trusts_the_certificate_that_tap_made(&server);
    clients_discover_what_can_be_tapped(&server);
    a_user_without_the_right_is_refused_by_the_api_server(&server);
    a_user_with_the_right_taps(&server);
    what_the_api_server_lets_pass_is_reviewed_again(&server);
    direct::only_the_front_proxy_names_users(&server, address).await;
    direct::one_user_leaves_taps_to_others(&server, address).await;

    stop.cancel();
    serving.await.unwrap();
}

/// What the chart installs, as far as it concerns the API server; and users.
fn install(server: &ApiServer, address: SocketAddr) {
    server.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "weft-viz"}}));
    server.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}));
    // Without nodes, a service leads nowhere but to another name.
    server.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "tap", "namespace": "weft-viz"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }));
    server.apply(&json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1alpha1.tap.linkerd.io"},
        "spec": {
            "group": "tap.linkerd.io", "version": "v1alpha1", "groupPriorityMinimum": 1000, "versionPriority": 100,
            "insecureSkipTLSVerify": false,
            "service": {"name": "tap", "namespace": "weft-viz", "port": address.port()},
        },
    }));
    let role = |name: &str, resources: &[&str]| {
        server.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [{"apiGroups": ["tap.linkerd.io"], "resources": resources, "verbs": ["watch"]}],
        }));
        server.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": "demo"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        }));
    };
    role("bob", &["*"]);
    role("dave", &["*"]);
    // Kubernetes sees the path of a namespace as a resource of this name.
    role("carol", &["tap"]);
    tap_rights(server);
}

/// The rights of the service account tap.
fn tap_rights(server: &ApiServer) {
    let rules = json!([
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        {"apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"],
         "resourceNames": ["v1alpha1.tap.linkerd.io"], "verbs": ["get", "patch"]},
    ]);
    server.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "tap"}, "rules": rules,
    }));
    let subjects = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "tap"}]);
    server.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "tap"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tap"}, "subjects": subjects,
    }));
    server.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "tap", "namespace": "kube-system"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
                    "name": "extension-apiserver-authentication-reader"},
        "subjects": subjects,
    }));
}

/// Runs the role with the rights of its service account, on a cluster with one pod.
async fn serve(
    server: &ApiServer,
    folder: &Path,
    address: SocketAddr,
    stop: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        role: TapRole,
    }
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  namespace: demo\n  name: web-1\n  annotations: {linkerd.io/inject: enabled}\n  \
               ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: u, controller: true}]\n\
               spec: {nodeName: a, containers: []}\n";
    std::fs::write(folder.join("pod.yaml"), pod).unwrap();
    let source = FollowedSource::Manifests(vec![folder.to_owned()]);
    let follower = Follower::start(source, &Kind::ALL, stop.clone()).unwrap();
    let mut cluster = follower.index().subscribe();
    cluster.wait_for(|cluster| cluster.pods().len() == 1).await.unwrap();
    let admin = free_address();
    let role = Options::parse_from([
        "tap",
        &format!("--listen={address}"),
        &format!("--admin={admin}"),
        "--control=127.0.0.1:1",
        &format!("--trust-anchors={}", folder.join("anchors.pem").display()),
        &format!("--token-file={}", folder.join("token").display()),
        "--tap-proxy=a=127.0.0.1:1",
    ])
    .role;
    let client = server.client("tap").await;
    let server = Server { role, client, cluster, unsynced: Arc::new(|| None) };
    tokio::spawn(async move {
        let _follower = follower;
        run(server, stop).await.unwrap();
    })
}

fn the_api_server_trusts_the_certificate_that_tap_made(server: &ApiServer) {
    let found = || {
        let text =
            server.kubectl("admin", &["get", "apiservice", "v1alpha1.tap.linkerd.io", "-o", "json"]).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    eventually("the APIService is available", || {
        let conditions = found()["status"]["conditions"].clone();
        conditions.as_array().into_iter().flatten().any(|c| c["type"] == "Available" && c["status"] == "True")
    });
    assert!(found()["spec"]["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty()));
}

fn clients_discover_what_can_be_tapped(server: &ApiServer) {
    let text = server.kubectl("bob", &["get", "--raw", GROUP]).unwrap();
    assert!(text.contains("\"deployments/tap\"") && text.contains("\"watch\""), "{text}");
}

fn a_user_without_the_right_is_refused_by_the_api_server(server: &ApiServer) {
    for path in [WEB, DEMO] {
        let error = server.kubectl("alice", &["get", "--raw", path]).unwrap_err();
        assert!(error.contains("alice") && error.to_lowercase().contains("forbidden"), "{error}");
    }
}

fn a_user_with_the_right_taps(server: &ApiServer) {
    for path in [WEB, DEMO] {
        let first = server.first_line("bob", path);
        let message: Value = serde_json::from_str(&first).unwrap();
        assert_eq!(message["type"], "started", "{first}");
        // There is no proxy here.
        assert_eq!(message["skipped"][0]["pod"], "demo/web-1", "{first}");
    }
    let error = server.kubectl("bob", &["get", "--raw", &WEB.replace("web/tap", "absent/tap")]).unwrap_err();
    assert!(error.contains("deployment absent does not exist in namespace demo"), "{error}");
}

fn what_the_api_server_lets_pass_is_reviewed_again(server: &ApiServer) {
    let error = server.kubectl("carol", &["get", "--raw", DEMO]).unwrap_err();
    assert!(error.contains("carol may not watch namespaces/tap"), "{error}");
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: this did not happen within a minute");
        std::thread::sleep(Duration::from_millis(100));
    }
}
