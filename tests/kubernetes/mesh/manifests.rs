//! The pods of these scenarios.

use anyhow::Result;
use weft_tests::kubernetes::{Cluster, NODES, Namespace};

/// A namespace whose pods are meshed.
pub(super) fn meshed<'a>(cluster: &'a Cluster, name: &str) -> Result<Namespace<'a>> {
    let namespace = cluster.namespace(name)?;
    cluster.kubectl(&["annotate", "namespace", name, "linkerd.io/inject=enabled"])?;
    Ok(namespace)
}

/// An HTTP server of several pods, and its service `web`. It ends as good servers do: it answers what it has begun, and
/// closes its connections. It does not wait before it closes its listener, though Kubernetes withdraws its endpoint at the
/// same time: requests that are on their way then are sent to another pod.
const DEPLOYMENT: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata:
      labels: {app: web}
      annotations: {config.linkerd.io/default-inbound-policy: all-authenticated}
    spec:
      terminationGracePeriodSeconds: 30
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {matchLabels: {app: web}}
          matchLabelKeys: [pod-template-hash]
      containers:
        - name: web
          image: ghcr.io/weft-mesh/weft-demo:0.1.0
          command: [weft-demo, web]
          env:
            - {name: WEB_PORT, value: "8080"}
            - {name: EMOJISVC_HOST, value: "emoji.invalid:8080"}
            - {name: VOTINGSVC_HOST, value: "voting.invalid:8080"}
          # A busy machine is no reason to withdraw both endpoints.
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 5}
"#;

/// Starts the Deployment, with a pod on each node, and waits for it.
pub(super) fn deploy(namespace: &Namespace<'_>) -> Result<()> {
    namespace.apply(DEPLOYMENT)?;
    namespace.rolled_out("deployment/web")
}

/// A pod that answers each request with the client's address, on port 8080, and bytes with themselves, on port 9000.
const SERVER: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: "{name}"
  labels: {app: "{name}"}
  annotations: {config.linkerd.io/default-inbound-policy: "{policy}"}
spec:
  nodeName: "{node}"
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: localhost/weft-toolbox:1
      command: [sh, -c]
      args:
        - |
          cat > /tmp/answer <<'END'
          while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
          printf 'HTTP/1.0 200 OK\r\n\r\n%s\n' "$SOCAT_PEERADDR"
          END
          exec socat TCP-LISTEN:8080,fork,reuseaddr EXEC:'sh /tmp/answer'
      readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 5}
    - name: echo
      image: localhost/weft-toolbox:1
      command: [socat, "TCP-LISTEN:9000,fork,reuseaddr", "EXEC:cat"]
---
apiVersion: v1
kind: Service
metadata: {name: "{name}"}
spec:
  selector: {app: "{name}"}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: echo, port: 9000}]
"#;

/// Starts the server on a node, and waits for it.
pub(super) fn server(namespace: &Namespace<'_>, name: &str, node: &str, policy: &str) -> Result<()> {
    namespace.apply(&fill(SERVER, &[("{name}", name), ("{node}", node), ("{policy}", policy)]))?;
    namespace.pod_ready(name)
}

/// A pod to run commands in.
const CLIENT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: "{name}"}
spec:
  nodeName: "{node}"
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "localhost/weft-toolbox:1", command: [sleep, "100000"]}]
"#;

/// Starts a client on each node, named as its node, and waits for them.
pub(super) fn clients(namespace: &Namespace<'_>) -> Result<()> {
    for node in NODES {
        namespace.apply(&fill(CLIENT, &[("{name}", node), ("{node}", node)]))?;
    }
    NODES.iter().try_for_each(|node| namespace.pod_ready(node))
}

/// A client's request: the status code, and the body.
pub(super) fn request(namespace: &Namespace<'_>, client: &str, url: &str) -> Result<(u16, String)> {
    let curl = ["curl", "-sS", "--http1.0", "--max-time", "10", "-w", "\n%{http_code}", url];
    let answer = namespace.exec(client, &curl)?;
    let (body, status) = answer.rsplit_once('\n').unwrap_or_default();
    Ok((status.trim().parse()?, body.trim().to_owned()))
}

/// Replaces each name by its value.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}
