//! The API server is away, and comes back.

use std::path::Path;

use kube::Client;

use crate::{
    api_server::ApiServer,
    link::Link,
    objects::{create_pod, delete_pod},
    running::{Running, eventually},
};

pub(crate) async fn it_is_not_ready_before_it_has_read_everything(link: &Link, kubeconfig: &Path) {
    link.cut();
    let control = Running::spawn(kubeconfig.to_owned());
    eventually("it tries to list", async || control.watch_metric("failures_total", "Pod").await >= 2.0).await;
    let (status, text) = control.get("/ready").await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("Pod"), "{text}");
    assert_eq!(control.get("/live").await.0, 200);
    link.mend();
    eventually("it is ready", async || control.get("/ready").await.0 == 200).await;
    control.stop().await;
}

pub(crate) async fn while_the_api_server_is_away_the_last_state_applies(
    control: &Running,
    link: &Link,
    client: &Client,
) {
    let lists = control.watch_metric("lists_total", "Pod").await;
    link.cut();
    let all = ["Pod", "Service", "Namespace", "Server", "ReplicaSet"];
    for kind in all {
        eventually("the watch is lost", async || control.watch_metric("connected", kind).await == 0.0).await;
    }
    create_pod(client, "away", "10.1.0.9").await;
    delete_pod(client, "web").await;
    eventually("nothing is heard", async || control.watch_metric("silence_seconds", "Pod").await >= 1.0)
        .await;
    assert!(control.pod("web").is_some() && control.pod("away").is_none());
    assert_eq!(control.endpoints("web"), Some(1));
    assert_eq!(control.get("/ready").await.0, 200, "it still serves");

    link.mend();
    eventually("the new pod is known", async || control.pod("away").is_some()).await;
    eventually("the old one is forgotten", async || control.pod("web").is_none()).await;
    for kind in all {
        eventually("the watch is back", async || control.watch_metric("connected", kind).await == 1.0).await;
    }
    assert_eq!(control.watch_metric("lists_total", "Pod").await, lists, "a short absence needs no new list");
}

/// The watches cannot go on from where they were (410).
pub(crate) async fn without_the_changes_that_it_missed_it_lists_everything_again(
    control: &Running,
    link: &Link,
    server: &mut ApiServer,
    client: &Client,
) {
    let lists = control.watch_metric("lists_total", "Pod").await;
    link.cut();
    eventually("the watch is lost", async || control.watch_metric("connected", "Pod").await == 0.0).await;
    delete_pod(client, "away").await;
    create_pod(client, "web", "10.1.0.1").await;
    server.kill();
    server.forget_history().await;
    server.start_again().await;
    assert!(control.pod("away").is_some() && control.pod("web").is_none());

    link.mend();
    eventually("the pod is forgotten", async || control.pod("away").is_none()).await;
    eventually("the new one is known", async || control.pod("web").is_some()).await;
    for kind in ["Pod", "Server", "Job"] {
        eventually("the watch is back", async || control.watch_metric("connected", kind).await == 1.0).await;
    }
    assert!(control.watch_metric("lists_total", "Pod").await > lists);
}
