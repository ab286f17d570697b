//! What a pod notices of the mesh: its probes succeed, it sees its clients' addresses, and a Job ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::{
    kubernetes::{Cluster, NODES},
    wait,
};

use super::manifests::{clients, meshed, request, server};
use crate::installed::{self, with_weft};

/// Startup, readiness and liveness are asked by each protocol once.
const PROBED: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: probed
  annotations: {config.linkerd.io/default-inbound-policy: deny}
spec:
  nodeName: "{node}"
  terminationGracePeriodSeconds: 1
  containers:
    - name: http
      image: ghcr.io/weft-mesh/weft-demo:0.1.0
      command: [weft-demo, web]
      env:
        - {name: WEB_PORT, value: "8080"}
        - {name: EMOJISVC_HOST, value: "emoji.invalid:8080"}
        - {name: VOTINGSVC_HOST, value: "voting.invalid:8080"}
      startupProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, failureThreshold: 20}
      readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, failureThreshold: 2}
      livenessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, failureThreshold: 3}
    - name: grpc
      image: ghcr.io/weft-mesh/weft-demo:0.1.0
      command: [weft-demo, emoji]
      env: [{name: GRPC_PORT, value: "8081"}, {name: PROM_PORT, value: "8801"}]
      startupProbe: {grpc: {port: 8081}, periodSeconds: 1, failureThreshold: 20}
      readinessProbe: {grpc: {port: 8081}, periodSeconds: 1, failureThreshold: 2}
      livenessProbe: {grpc: {port: 8081}, periodSeconds: 1, failureThreshold: 3}
    - name: tcp
      image: localhost/weft-toolbox:1
      command: [socat, "TCP-LISTEN:9000,fork,reuseaddr", "EXEC:cat"]
      startupProbe: {tcpSocket: {port: 9000}, periodSeconds: 1, failureThreshold: 20}
      readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1, failureThreshold: 2}
      livenessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1, failureThreshold: 3}
"#;
/// Longer than a probe would need to fail.
const PROBES: Duration = Duration::from_secs(6);

pub(super) fn probes_are_let_in_under_deny() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-probes")?;
        namespace.apply(&PROBED.replace("{node}", NODES[1]))?;
        namespace.pod_ready("probed")?;
        clients(&namespace)?;
        let address = namespace.field("pod/probed", ".status.podIP")?;
        for client in NODES {
            // The path of the probes, which is open to the node alone.
            let (status, body) = request(&namespace, client, &format!("http://{address}:8080/"))?;
            ensure!(status == 403, "{client} is not refused: {status} {body}");
            // What a client sends to a TCP server does not come back.
            let echo = format!("echo hello | socat -t 2 - TCP:{address}:9000");
            let answer = namespace.exec(client, &["sh", "-c", &echo]).unwrap_or_default();
            ensure!(!answer.contains("hello"), "{client} is not refused");
        }
        std::thread::sleep(PROBES);
        let states =
            namespace.field("pod/probed", r#".status.containerStatuses[?(@.restartCount==0)].ready"#)?;
        ensure!(states == "true true true", "containers were restarted, or are not ready: {states}");
        Ok(())
    })
}

pub(super) fn servers_see_the_clients_addresses() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-addresses")?;
        server(&namespace, "server", NODES[1], "all-authenticated")?;
        clients(&namespace)?;
        let pod = namespace.field("pod/server", ".status.podIP")?;
        for client in NODES {
            let own = namespace.field(&format!("pod/{client}"), ".status.podIP")?;
            for url in [format!("http://{pod}:8080/"), "http://server/".to_owned()] {
                // The policy admits only identities: so the request came through the mesh.
                wait::until_ok("the server sees the client's address", || {
                    let (status, seen) = request(&namespace, client, &url)?;
                    ensure!(status == 200 && seen == own, "{client} at {url}: {status}, {seen}, not {own}");
                    Ok(())
                })?;
            }
        }
        Ok(())
    })
}

const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    spec:
      nodeName: "{node}"
      restartPolicy: Never
      containers:
        - name: request
          image: localhost/weft-toolbox:1
          command: [curl, -sSf, --http1.0, --max-time, "10", "http://server/"]
"#;

pub(super) fn a_job_ends_as_without_a_mesh() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-job")?;
        server(&namespace, "server", NODES[1], "all-authenticated")?;
        namespace.apply(&JOB.replace("{node}", NODES[0]))?;
        namespace.kubectl(&["wait", "--for=condition=Complete", "job/once", "--timeout=60s"])?;
        let pod = namespace.kubectl(&[
            "get",
            "pods",
            "-l",
            "job-name=once",
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ])?;
        let answer = namespace.kubectl(&["logs", &pod])?;
        ensure!(!answer.trim().is_empty(), "no answer");
        let name = format!("{}/{pod}", namespace.name());
        wait::until_ok("the pod has left the mesh", || {
            let page = cluster.inside(NODES[0], &["curl", "-sS", "http://127.0.0.1:4191/config"])?;
            ensure!(!page.contains(&name), "{name} is still there: {page}");
            Ok(())
        })?;
        let log = log_of_proxy(cluster, NODES[0])?;
        let about: Vec<_> = log.lines().filter(|line| line.contains(&name)).collect();
        ensure!(about.iter().any(|line| line.contains("workload enrolled")), "{log}");
        let complaints: Vec<_> =
            about.iter().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
        ensure!(complaints.is_empty(), "the proxy complains: {complaints:#?}");
        Ok(())
    })
}

/// The log of the proxy that runs on a node.
fn log_of_proxy(cluster: &Cluster, node: &str) -> Result<String> {
    let pod = installed::proxy_on(cluster, node).context("the node's proxy")?;
    cluster.kubectl(&["-n", installed::NAMESPACE, "logs", &pod])
}
