//! Objects of the API server become the index.

use k8s_openapi::api::{
    core::v1::{Namespace, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use weft_control::settings::Policy;

use crate::{
    api_server::ApiServer,
    running::{Running, eventually},
};

pub(crate) async fn a_missing_definition_is_reported_and_everything_else_works(
    control: &Running,
    server: &ApiServer,
) {
    for kind in ["Server", "AuthorizationPolicy"] {
        assert!(control.watch_metric("failures_total", kind).await >= 1.0, "{kind}");
        assert_eq!(control.watch_metric("connected", kind).await, 0.0, "{kind}");
    }
    for kind in ["Pod", "Service", "Deployment", "Node"] {
        eventually(kind, async || control.watch_metric("connected", kind).await == 1.0).await;
    }
    let client = server.client().await;
    create::<Namespace>(&client, json!({"metadata": {"name": "demo"}})).await;
    create_pod(&client, "web", "10.1.0.1").await;
    eventually("the pod is in the index", async || control.pod("web").is_some()).await;
    assert!(!control.pod("web").unwrap().is_meshed());
}

pub(crate) async fn a_kind_is_read_as_soon_as_it_is_defined(control: &Running, server: &ApiServer) {
    eventually("Servers are watched", async || control.watch_metric("connected", "Server").await == 1.0)
        .await;
    let yaml = "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: web, namespace: demo}\n\
                spec: {podSelector: {matchLabels: {app: web}}, port: http, accessPolicy: all-authenticated}\n";
    server.try_apply(yaml).unwrap();
    eventually("the Server is in the index", async || {
        policy_of(control, "web", 80) == Some(Policy::AllAuthenticated)
    })
    .await;
}

pub(crate) async fn objects_appear_change_and_vanish(control: &Running, client: &Client) {
    let service = json!({
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    });
    create::<Service>(client, service).await;
    create::<EndpointSlice>(client, slice(&["10.1.0.1"])).await;
    eventually("the service has an endpoint", async || control.endpoints("web") == Some(1)).await;

    create_pod(client, "web-2", "10.1.0.2").await;
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "demo");
    slices.replace("web-1", &PostParams::default(), &typed(slice(&["10.1.0.1", "10.1.0.2"]))).await.unwrap();
    eventually("it has two", async || control.endpoints("web") == Some(2)).await;

    annotate_namespace(client, json!("enabled")).await;
    eventually("the namespace's pods are meshed", async || {
        control.cluster().pods().filter(|pod| pod.is_meshed()).count() == 2
    })
    .await;
    annotate_namespace(client, Value::Null).await;
    eventually("they no longer are", async || !control.cluster().pods().any(|pod| pod.is_meshed())).await;

    delete_pod(client, "web-2").await;
    eventually("the pod is gone", async || control.pod("web-2").is_none()).await;
    slices.replace("web-1", &PostParams::default(), &typed(slice(&["10.1.0.1"]))).await.unwrap();
    eventually("its endpoint is gone", async || control.endpoints("web") == Some(1)).await;
}

pub(crate) async fn a_burst_of_changes_arrives_completely(control: &Running, client: &Client) {
    const COUNT: usize = 100;
    for number in 0..COUNT {
        create_pod(client, &format!("burst-{number}"), &format!("10.2.0.{number}")).await;
    }
    let burst = || control.cluster().pods().filter(|pod| pod.name.name.starts_with("burst-")).count();
    eventually("all pods are in the index", async || burst() == COUNT).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "demo");
    let burst_only = kube::api::ListParams::default().labels("app=burst");
    pods.delete_collection(&DeleteParams::default().grace_period(0), &burst_only).await.unwrap();
    eventually("none is", async || burst() == 0).await;
}

pub(crate) fn policy_of(control: &Running, pod: &str, port: u16) -> Option<Policy> {
    let pod = control.pod(pod)?;
    pod.config.port_policies.iter().find(|policy| policy.port == port).map(|policy| policy.policy)
}

/// A pod as a kubelet would report it. The part of its name before the dash is its label `app`.
pub(crate) async fn create_pod(client: &Client, name: &str, ip: &str) {
    let app = name.split('-').next().unwrap();
    let pod = json!({
        "metadata": {"name": name, "namespace": "demo", "labels": {"app": app}},
        "spec": {
            "nodeName": "one",
            "containers": [{"name": "c", "image": "c", "ports": [{"name": "http", "containerPort": 80}]}],
        },
    });
    create::<Pod>(client, pod).await;
    let status = json!({"status": {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    let pods: Api<Pod> = Api::namespaced(client.clone(), "demo");
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

pub(crate) async fn delete_pod(client: &Client, name: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "demo");
    pods.delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
}

pub(crate) async fn create<T>(client: &Client, object: Value)
where
    T: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let object: T = typed(object);
    let path = T::url_path(&(), object.meta().namespace.as_deref());
    let body = serde_json::to_vec(&object).unwrap();
    let request = kube::core::Request::new(path).create(&PostParams::default(), body).unwrap();
    client.request::<T>(request).await.unwrap();
}

fn typed<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn slice(ips: &[&str]) -> Value {
    let endpoints: Vec<_> =
        ips.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    let labels = json!({"kubernetes.io/service-name": "web"});
    json!({
        "metadata": {"name": "web-1", "namespace": "demo", "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 80}],
    })
}

async fn annotate_namespace(client: &Client, value: Value) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let patch = json!({"metadata": {"annotations": {"linkerd.io/inject": value}}});
    namespaces.patch("demo", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}
