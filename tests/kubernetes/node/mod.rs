//! The node proxies as a DaemonSet: they find pods, take over from each other, and report what they cannot serve.

mod absent;
mod held;
mod rollout;

use std::time::Duration;

use anyhow::{Result, ensure};
use weft_tests::{
    kubernetes::{Cluster, NODES, Namespace, wait},
    suite::Area,
};

use crate::installed::{self, with_weft};

/// The first one starts the cluster and installs weft.
const LIMIT: Duration = Duration::from_secs(900);

pub(crate) fn area() -> Area {
    Area::without_cluster("kubernetes::node")
        .bare(
            "the_first_request_of_a_pod_is_meshed",
            "An init container's only request is let in by a pod on the other node that requires an identity; one of a pod \
             that is not meshed is not.",
            the_first_request_of_a_pod_is_meshed,
        )
        .within(LIMIT)
        .bare(
            "a_pod_that_must_be_meshed_waits_for_the_control_plane",
            "A pod that says itself that it is meshed and fails closed does not start while the control plane is away; when it \
             is back, the pod's first request is meshed.",
            held::a_pod_that_must_be_meshed_waits_for_the_control_plane,
        )
        .within(LIMIT)
        .bare(
            "pods_are_found_without_nri",
            "A proxy that the container runtime does not tell of pods finds them by their processes.",
            pods_are_found_without_nri,
        )
        .within(LIMIT)
        .bare(
            "pods_that_cannot_be_served_are_reported",
            "A pod in its node's network and one with a kernel of its own are reported with the reason.",
            pods_that_cannot_be_served_are_reported,
        )
        .within(LIMIT)
        .bare(
            "pods_of_a_node_without_a_proxy_are_reported",
            "`weft check` fails and names a node that the DaemonSet leaves out, and its pods that should be meshed; when a \
             proxy comes, they join the mesh.",
            absent::pods_of_a_node_without_a_proxy_are_reported,
        )
        .within(LIMIT)
        .bare(
            "a_rollout_of_proxies_loses_nothing",
            "While all node proxies are replaced, every request is answered and an open connection stays open.",
            rollout::a_rollout_of_proxies_loses_nothing,
        )
        .within(LIMIT)
}

/// A server on the second node that only lets in clients with an identity.
const SERVER: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: server
  annotations: {config.linkerd.io/default-inbound-policy: all-authenticated}
spec:
  nodeName: "{node}"
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: localhost/weft-toolbox:1
      command: [socat, "TCP-LISTEN:8080,fork,reuseaddr", "SYSTEM:'read line; echo HTTP/1.0 200 OK; echo; echo hello'"]
      readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 5}
    - name: echo
      image: localhost/weft-toolbox:1
      command: [socat, "TCP-LISTEN:9000,fork,reuseaddr", "EXEC:cat"]
"#;

/// A client on the first node that sends one request before anything else. It says itself that it does not start before it
/// is served, however busy the node is (docs/decisions/0024-nri.md).
const CLIENT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: "{name}", annotations: {linkerd.io/inject: "{inject}", config.weft.dev/fail-mode: closed}}
spec:
  nodeName: "{node}"
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  initContainers:
    - name: first
      image: localhost/weft-toolbox:1
      command: [curl, -sSf, --http1.0, --max-time, "30", "http://{server}:8080/"]
  containers:
    - name: rest
      image: localhost/weft-toolbox:1
      command: [sleep, "100000"]
"#;

/// A namespace whose pods are meshed, with the server in it, and the server's address.
fn mesh<'a>(cluster: &'a Cluster, name: &str) -> Result<(Namespace<'a>, String)> {
    let namespace = cluster.namespace(name)?;
    cluster.kubectl(&["annotate", "namespace", name, "linkerd.io/inject=enabled"])?;
    namespace.apply(&SERVER.replace("{node}", NODES[1]))?;
    namespace.pod_ready("server")?;
    served(cluster, NODES[1], &format!("{name}/server"))?;
    let address = namespace.field("pod/server", ".status.podIP")?;
    Ok((namespace, address))
}

fn client(name: &str, inject: &str, server: &str) -> String {
    let of = [("{name}", name), ("{inject}", inject), ("{node}", NODES[0]), ("{server}", server)];
    of.iter().fold(CLIENT.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Waits until the proxy of a node serves a pod.
fn served(cluster: &Cluster, node: &str, pod: &str) -> Result<()> {
    wait::until_ok("the pod is served", || {
        let (state, reason) = state(cluster, node, pod)?;
        ensure!(state == "SERVED", "{pod} is {state}: {reason}");
        Ok(())
    })
}

/// What the proxy of a node says about a pod: its state and the reason.
fn state(cluster: &Cluster, node: &str, pod: &str) -> Result<(String, String)> {
    let page = cluster.inside(node, &["curl", "-sS", "http://127.0.0.1:4191/config"])?;
    let page: serde_json::Value = serde_json::from_str(&page)?;
    let of = &page["workloads"][pod];
    let text = |name: &str| of[name].as_str().unwrap_or("unknown").to_owned();
    Ok((text("state"), text("reason")))
}

fn the_first_request_of_a_pod_is_meshed() -> Result<()> {
    with_weft(|cluster| {
        let (namespace, server) = mesh(cluster, "node-first")?;
        namespace.apply(&client("meshed", "enabled", &server))?;
        namespace.pod_ready("meshed")?;
        let answer = namespace.kubectl(&["logs", "meshed", "-c", "first"])?;
        ensure!(answer.trim() == "hello", "{answer}");

        namespace.apply(&client("plain", "disabled", &server))?;
        wait::until_ok("the request is refused", || {
            let phase = namespace.field("pod/plain", ".status.phase")?;
            ensure!(phase == "Failed", "the pod is {phase}");
            Ok(())
        })
    })
}

fn pods_are_found_without_nri() -> Result<()> {
    const SOCKET: &str = "WEFT_PROXY_NRI_SOCKET";
    with_weft(|cluster| {
        let set = |value: &str| {
            cluster.kubectl(&["-n", installed::NAMESPACE, "set", "env", "daemonset/weft-proxy", value])?;
            cluster.rolled_out(installed::NAMESPACE, "daemonset/weft-proxy")
        };
        set(&format!("{SOCKET}-"))?;
        let result = mesh(cluster, "node-processes").map(drop);
        set(&format!("{SOCKET}=/var/run/nri/nri.sock"))?;
        result
    })
}

const UNSERVED: &str = r#"
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: kata-test}
handler: runc
---
apiVersion: v1
kind: Pod
metadata: {name: host-network}
spec:
  nodeName: "{node}"
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "localhost/weft-toolbox:1", command: [sleep, "100000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: own-kernel}
spec:
  nodeName: "{node}"
  runtimeClassName: kata-test
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "localhost/weft-toolbox:1", command: [sleep, "100000"]}]
"#;

fn pods_that_cannot_be_served_are_reported() -> Result<()> {
    with_weft(|cluster| {
        let namespace = cluster.namespace("node-unserved")?;
        cluster.kubectl(&["annotate", "namespace", namespace.name(), "linkerd.io/inject=enabled"])?;
        namespace.apply(&UNSERVED.replace("{node}", NODES[0]))?;
        for (pod, word) in [("host-network", "hostNetwork"), ("own-kernel", "kata-test")] {
            namespace.pod_ready(pod)?;
            wait::until_ok("the pod is reported", || {
                let (state, reason) = state(cluster, NODES[0], &format!("node-unserved/{pod}"))?;
                ensure!(state == "REFUSED" && reason.contains(word), "{pod} is {state}: {reason}");
                Ok(())
            })?;
        }
        cluster.kubectl(&["delete", "runtimeclass", "kata-test"]).map(drop)
    })
}
