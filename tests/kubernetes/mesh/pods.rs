//! What a pod notices of the mesh: its probes succeed, it sees its clients' addresses, and a Job ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::kubernetes::{Cluster, NODES, Namespace, wait};

use super::manifests::{clients, meshed, request, server};
use crate::installed::{self, with_weft};

/// Startup, readiness and liveness are asked by each protocol once. A probe that is refused fails at once; a slow answer is
/// not what is tested.
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
      startupProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 60}
      readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 2}
      livenessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 3}
    - name: grpc
      image: ghcr.io/weft-mesh/weft-demo:0.1.0
      command: [weft-demo, emoji]
      env: [{name: GRPC_PORT, value: "8081"}, {name: PROM_PORT, value: "8801"}]
      startupProbe: {grpc: {port: 8081}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 60}
      readinessProbe: {grpc: {port: 8081}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 2}
      livenessProbe: {grpc: {port: 8081}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 3}
    - name: tcp
      image: localhost/weft-toolbox:1
      command: [socat, "TCP-LISTEN:9000,fork,reuseaddr", "EXEC:cat"]
      startupProbe: {tcpSocket: {port: 9000}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 60}
      readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 2}
      livenessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 3}
"#;
/// With the start of the pod, which may be held a few times.
const ENDS: Duration = Duration::from_secs(180);
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
            wait::until_ok("the client is refused", || {
                // The path of the probes, which is open to the node alone.
                let (status, body) = request(&namespace, client, &format!("http://{address}:8080/"))?;
                ensure!(status == 403, "{client} is not refused: {status} {body}");
                Ok(())
            })?;
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

/// Its only request must be meshed, however busy the node is: it says itself that it does not start before
/// (docs/decisions/0024-nri.md).
const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations: {linkerd.io/inject: enabled, config.weft.dev/fail-mode: closed}
    spec:
      nodeName: "{node}"
      restartPolicy: Never
      containers:
        - name: request
          image: localhost/weft-toolbox:1
          command: [curl, -sSf, --http1.0, --max-time, "30", "http://server/"]
"#;

pub(super) fn a_job_ends_as_without_a_mesh() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-job")?;
        server(&namespace, "server", NODES[1], "all-authenticated")?;
        clients(&namespace)?;
        // The service has its endpoint: the Job asks only once.
        wait::until_ok("the server answers", || {
            let (status, body) = request(&namespace, NODES[0], "http://server/")?;
            ensure!(status == 200, "{status}: {body}");
            Ok(())
        })?;
        namespace.apply(&JOB.replace("{node}", NODES[0]))?;
        completes(&namespace)?;
        let names = ["get", "pods", "-l", "job-name=once", "-o", "jsonpath={.items[*].metadata.name}"];
        let pod = namespace.kubectl(&names)?;
        let name = format!("{}/{pod}", namespace.name());
        wait::until_ok("the pod has left the mesh", || {
            let page = cluster.inside(NODES[0], &["curl", "-sS", "http://127.0.0.1:4191/config"])?;
            ensure!(!page.contains(&name), "{name} is still there: {page}");
            Ok(())
        })?;
        let log = log_of_proxy(cluster, NODES[0])?;
        let about: Vec<_> = log.lines().filter(|line| line.contains(&name)).collect();
        // On a busy node the pod may have been held before, which the proxy says.
        let served = about.iter().rposition(|line| line.contains("workload enrolled"));
        let served = served.with_context(|| format!("{name} was not enrolled: {about:#?}"))?;
        let complaints: Vec<_> =
            about[served..].iter().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
        ensure!(complaints.is_empty(), "the proxy complains: {complaints:#?}");
        Ok(())
    })
}

/// Waits until the Job is over. An error if its request was not answered.
fn completes(namespace: &Namespace<'_>) -> Result<()> {
    let conditions = wait::until_ok_for(ENDS, "the Job is over", || {
        let conditions = namespace.field("job/once", r#".status.conditions[?(@.status=="True")].type"#)?;
        let is_over = conditions.split_whitespace().any(|name| ["Complete", "Failed"].contains(&name));
        ensure!(is_over, "{conditions}");
        Ok(conditions)
    })?;
    let answer = namespace.kubectl(&["logs", "job/once"])?;
    ensure!(conditions.contains("Complete") && !answer.trim().is_empty(), "{conditions}: {answer}");
    Ok(())
}

/// The log of the proxy that runs on a node.
fn log_of_proxy(cluster: &Cluster, node: &str) -> Result<String> {
    let pod = installed::proxy_on(cluster, node).context("the node's proxy")?;
    cluster.kubectl(&["-n", installed::NAMESPACE, "logs", &pod])
}
