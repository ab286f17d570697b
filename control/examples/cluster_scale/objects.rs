//! The objects of a cluster of a certain size, as kubelets and controllers would make them.

use std::path::Path;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

use crate::{api_server::ApiServer, control::NAMESPACE};

pub(crate) const ENDPOINTS: usize = 20;
const PODS_PER_NAMESPACE: usize = 500;
const PODS_PER_NODE: usize = 100;
const PODS_PER_SERVICE: usize = 10;
/// Requests to the API server at the same time.
const AT_ONCE: usize = 48;

/// The objects are numbered: a smaller cluster is a part of a larger one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) pods: usize,
    pub(crate) services: usize,
    pub(crate) nodes: usize,
}

impl Scale {
    pub(crate) fn none() -> Self {
        Self { pods: 0, services: 0, nodes: 0 }
    }

    pub(crate) fn of(pods: usize) -> Self {
        Self { pods, services: pods / PODS_PER_SERVICE, nodes: pods / PODS_PER_NODE }
    }
}

/// A request to the API server.
struct Call {
    method: Method,
    path: String,
    body: Value,
}

/// The kinds of policies, which weft-control watches.
pub(crate) fn define_kinds(server: &ApiServer) {
    server.apply(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts/weft-crds/templates"));
}

/// Creates what is in `wanted` but not in `there`.
pub(crate) async fn create(client: &Client, there: &Scale, wanted: &Scale) -> Result<()> {
    let mut first = Vec::new();
    if there.pods == 0 {
        first.push(post("/api/v1/namespaces", json!({ "metadata": { "name": NAMESPACE } })));
        let account = json!({ "metadata": { "name": "weft-proxy" } });
        first.push(post(&format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"), account));
    }
    let namespaces = |scale: &Scale| scale.pods.div_ceil(PODS_PER_NAMESPACE);
    first.extend((namespaces(there)..namespaces(wanted)).map(|number| {
        let annotations = json!({ "linkerd.io/inject": "enabled" });
        let metadata = json!({ "name": format!("ns-{number}"), "annotations": annotations });
        post("/api/v1/namespaces", json!({ "metadata": metadata }))
    }));
    first.extend((there.nodes..wanted.nodes).map(|number| {
        let labels = json!({ "topology.kubernetes.io/zone": format!("zone-{}", number % 3) });
        post("/api/v1/nodes", json!({ "metadata": { "name": node(number), "labels": labels } }))
    }));
    // One after the other: the namespace of an object must exist.
    for request in first {
        send(client, request).await?;
    }
    let services = there.services..wanted.services;
    let requests = services
        .clone()
        .map(deployment)
        .chain(services.clone().map(replica_set))
        .chain(services.clone().map(service))
        .chain((there.pods..wanted.pods).map(pod))
        .chain((there.nodes..wanted.nodes).map(proxy));
    all(client, requests).await?;
    // The kubelet reports what it knows, and then controllers list the endpoints.
    let pods =
        (there.pods..wanted.pods).map(|number| status(&namespace(number), &pod_name(number), &ip(number)));
    let proxies =
        (there.nodes..wanted.nodes).map(|number| status(NAMESPACE, &proxy_name(number), &node_ip(number)));
    all(client, pods.chain(proxies)).await?;
    // Of a smaller cluster, the last service took its pods from the beginning.
    let again = if there.services > 0 { there.services - 1..there.services } else { 0..0 };
    for number in again {
        let path = format!("{}/{}", slices(number), slice_name(number));
        send(client, Call { method: Method::DELETE, path, body: json!({}) }).await?;
        all(client, [slice(number, wanted.pods)].into_iter()).await?;
    }
    all(client, services.map(|number| slice(number, wanted.pods))).await
}

/// Whether an endpoint of a service is ready.
pub(crate) async fn set_ready(client: &Client, service: usize, ready: bool) -> Result<()> {
    let path = format!("{}/{}", slices(service), slice_name(service));
    let body = json!([{ "op": "replace", "path": "/endpoints/0/conditions/ready", "value": ready }]);
    let request = Request::patch(path).header("content-type", "application/json-patch+json");
    client.request_text(request.body(body.to_string().into_bytes())?).await?;
    Ok(())
}

pub(crate) fn node(number: usize) -> String {
    format!("node-{number}")
}

/// The pod of a node's proxy.
pub(crate) fn proxy_name(node: usize) -> String {
    format!("weft-proxy-{node}")
}

/// What a proxy asks for.
pub(crate) fn authority(service: usize) -> String {
    format!("web-{service}.{}.svc.cluster.local:80", service_namespace(service))
}

async fn all(client: &Client, requests: impl Iterator<Item = Call>) -> Result<()> {
    let sends = requests.map(|request| send(client, request));
    stream::iter(sends).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await.map(drop)
}

async fn send(client: &Client, request: Call) -> Result<()> {
    let Call { method, path, body } = request;
    let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let text = format!("{method} {path}");
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    let request = request.body(body.to_string().into_bytes())?;
    client.request_text(request).await.context(text).map(drop)
}

fn post(path: &str, body: Value) -> Call {
    Call { method: Method::POST, path: path.to_owned(), body }
}

fn pod(number: usize) -> Call {
    let owner = number / PODS_PER_SERVICE;
    let container = json!({
        "name": "app",
        "image": "registry.example/application:v1",
        "ports": [{ "name": "http", "containerPort": 8080 }],
        "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 } },
        "env": [{ "name": "A", "value": "x".repeat(200) }],
    });
    let body = json!({
        "metadata": {
            "name": pod_name(number),
            "labels": { "app": format!("web-{owner}"), "pod-template-hash": "5d8f" },
            "annotations": { "example.org/note": "x".repeat(300) },
            "ownerReferences": [owner_of("ReplicaSet", &format!("web-{owner}-5d8f"))],
        },
        "spec": {
            "nodeName": node(number / PODS_PER_NODE),
            "serviceAccountName": "default",
            "containers": [container],
        },
    });
    post(&format!("/api/v1/namespaces/{}/pods", namespace(number)), body)
}

fn proxy(number: usize) -> Call {
    let body = json!({
        "metadata": { "name": proxy_name(number) },
        "spec": {
            "nodeName": node(number),
            "serviceAccountName": "weft-proxy",
            "hostNetwork": true,
            "containers": [{ "name": "proxy", "image": "weft-proxy" }],
        },
    });
    post(&format!("/api/v1/namespaces/{NAMESPACE}/pods"), body)
}

fn status(namespace: &str, name: &str, ip: &str) -> Call {
    let status = json!({
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{ "ip": ip }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
    Call { method: Method::PATCH, path, body: json!({ "status": status }) }
}

fn deployment(number: usize) -> Call {
    workload("deployments", &format!("web-{number}"), number, json!([]))
}

fn replica_set(number: usize) -> Call {
    let owner = owner_of("Deployment", &format!("web-{number}"));
    workload("replicasets", &format!("web-{number}-5d8f"), number, json!([owner]))
}

fn workload(plural: &str, name: &str, number: usize, owners: Value) -> Call {
    let labels = json!({ "app": format!("web-{number}") });
    let template = json!({
        "metadata": { "labels": labels },
        "spec": { "containers": [{ "name": "app", "image": "registry.example/application:v1" }] },
    });
    let body = json!({
        "metadata": { "name": name, "ownerReferences": owners },
        "spec": { "replicas": PODS_PER_SERVICE, "selector": { "matchLabels": labels }, "template": template },
    });
    post(&format!("/apis/apps/v1/namespaces/{}/{plural}", service_namespace(number)), body)
}

fn service(number: usize) -> Call {
    let body = json!({
        "metadata": { "name": format!("web-{number}") },
        "spec": {
            "selector": { "app": format!("web-{number}") },
            "ports": [{ "name": "http", "port": 80, "targetPort": "http" }],
        },
    });
    post(&format!("/api/v1/namespaces/{}/services", service_namespace(number)), body)
}

/// Its own pods and those of the next service: so every pod is in two services.
fn slice(number: usize, pods: usize) -> Call {
    let endpoint = |place: usize| {
        let pod = (number * PODS_PER_SERVICE + place) % pods;
        json!({
            "addresses": [ip(pod)],
            "conditions": { "ready": true },
            "nodeName": node(pod / PODS_PER_NODE),
            "zone": format!("zone-{}", pod / PODS_PER_NODE % 3),
            "targetRef": { "kind": "Pod", "namespace": namespace(pod), "name": pod_name(pod) },
        })
    };
    let body = json!({
        "metadata": {
            "name": slice_name(number),
            "labels": { "kubernetes.io/service-name": format!("web-{number}") },
        },
        "addressType": "IPv4",
        "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
        "ports": [{ "name": "http", "port": 8080 }],
    });
    post(&slices(number), body)
}

fn slices(service: usize) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", service_namespace(service))
}

fn slice_name(service: usize) -> String {
    format!("web-{service}-x")
}

fn service_namespace(service: usize) -> String {
    namespace(service * PODS_PER_SERVICE)
}

fn namespace(pod: usize) -> String {
    format!("ns-{}", pod / PODS_PER_NAMESPACE)
}

fn pod_name(number: usize) -> String {
    format!("pod-{number}")
}

fn owner_of(kind: &str, name: &str) -> Value {
    let uid = format!("5b0e6d2c-5a1c-4f5e-8f6b-{name}");
    json!({ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true })
}

fn ip(pod: usize) -> String {
    format!("10.{}.{}.{}", 244 + (pod >> 16), pod >> 8 & 255, pod & 255)
}

fn node_ip(node: usize) -> String {
    format!("10.200.{}.{}", node >> 8, node & 255)
}
