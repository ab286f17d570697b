//! The ways in which a service leads to its pods, and what metrics call the owners of both ends.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use weft_tests::kubernetes::{Cluster, NODES, Namespace, wait};

use super::manifests::{clients, fill, meshed, request};
use crate::{installed::with_weft, quick_start::demo};

/// A container that answers with its pod's name and node, to clients with an identity.
const CONTAINER: &str = r#"{
    name: web, image: "localhost/weft-toolbox:1", ports: [{name: web-port, containerPort: {port}}],
    env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}],
    readinessProbe: {tcpSocket: {port: web-port}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 5},
    command: [sh, -c, "echo 'while read -r l && [ ${#l} -gt 1 ]; do :; done; echo HTTP/1.0 200 OK; echo; echo $HOSTNAME $NODE' > /tmp/answer; exec socat TCP-LISTEN:{port},fork,reuseaddr EXEC:'sh /tmp/answer'"]
  }"#;

const STATEFUL_SET: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: db}
spec:
  clusterIP: None
  selector: {app: db}
  ports: [{name: http, port: 8080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata:
      labels: {app: db}
      annotations: {config.linkerd.io/default-inbound-policy: all-authenticated}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {matchLabels: {app: db}}
      containers: [{container}]
"#;

/// Each pod has another number for the port of that name.
const NAMED_PORTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: named}
spec:
  selector: {app: named}
  ports: [{name: http, port: 80, targetPort: web-port}]
---
apiVersion: v1
kind: Pod
metadata:
  name: first
  labels: {app: named}
  annotations: {config.linkerd.io/default-inbound-policy: all-authenticated}
spec:
  nodeName: "{node-a}"
  terminationGracePeriodSeconds: 1
  containers: [{first}]
---
apiVersion: v1
kind: Pod
metadata:
  name: second
  labels: {app: named}
  annotations: {config.linkerd.io/default-inbound-policy: all-authenticated}
spec:
  nodeName: "{node-b}"
  terminationGracePeriodSeconds: 1
  containers: [{second}]
"#;

const DAEMON_SET: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: agent}
spec:
  internalTrafficPolicy: Local
  selector: {app: agent}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata:
      labels: {app: agent}
      annotations: {config.linkerd.io/default-inbound-policy: all-authenticated}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{container}]
"#;

/// Clients that stay, so that their metrics do.
const JOBS: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: import}
spec:
  template:
    spec: {client}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  # The test starts it.
  suspend: true
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec: {client}
"#;

const CLIENT: &str = r#"{
    restartPolicy: Never, terminationGracePeriodSeconds: 1, containers: [{
      name: client, image: "localhost/weft-toolbox:1",
      command: [sh, -c, "while sleep 1; do curl -sS --http1.0 --max-time 5 http://agent/; done"]
  }]}"#;

fn container(port: &str) -> String {
    CONTAINER.replace("{port}", port)
}

/// What a client is answered: the pod and its node.
fn ask(namespace: &Namespace<'_>, client: &str, url: &str) -> Result<(String, String)> {
    let (status, body) = request(namespace, client, url)?;
    ensure!(status == 200, "{client} gets {status} from {url}: {body}");
    let (pod, node) = body.trim().split_once(' ').with_context(|| body.clone())?;
    Ok((pod.to_owned(), node.to_owned()))
}

pub(super) fn pods_of_a_stateful_set_have_names() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-stateful")?;
        namespace.apply(&fill(STATEFUL_SET, &[("{container}", &container("8080"))]))?;
        namespace.rolled_out("statefulset/db")?;
        clients(&namespace)?;
        for client in NODES {
            for pod in ["db-0", "db-1"] {
                for host in [format!("{pod}.db"), format!("{pod}.db.{}.svc.cluster.local", namespace.name())]
                {
                    wait::until_ok("the pod answers at its own name", || {
                        let (answered, _) = ask(&namespace, client, &format!("http://{host}:8080/"))?;
                        ensure!(answered == pod, "{answered} answers {client} at {host}");
                        Ok(())
                    })?;
                }
            }
            // The name of the headless service has the addresses of all its pods, of which clients choose one.
            wait::until_ok("a pod answers at the service's name", || {
                let (answered, _) = ask(&namespace, client, "http://db:8080/")?;
                ensure!(["db-0", "db-1"].contains(&answered.as_str()), "{answered} answers {client}");
                Ok(())
            })?;
        }
        has_requests(cluster, &namespace, &[("direction", "outbound"), ("dst_statefulset", "db")])?;
        has_requests(cluster, &namespace, &[("direction", "inbound"), ("statefulset", "db")])
    })
}

pub(super) fn a_named_port_is_each_pods_own() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-ports")?;
        let values = [("{first}", container("8080")), ("{second}", container("8081"))];
        let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        let nodes = [("{node-a}", NODES[0]), ("{node-b}", NODES[1])];
        namespace.apply(&fill(NAMED_PORTS, &[values, nodes].concat()))?;
        ["first", "second"].iter().try_for_each(|pod| namespace.pod_ready(pod))?;
        clients(&namespace)?;
        NODES
            .iter()
            .try_for_each(|client| reaches_all(&namespace, client, "http://named/", &["first", "second"]))
    })
}

/// Repeats a request until each of these pods has answered.
fn reaches_all(namespace: &Namespace<'_>, client: &str, url: &str, pods: &[&str]) -> Result<()> {
    let mut reached = BTreeSet::new();
    wait::until_ok("all pods answer", || {
        reached.insert(ask(namespace, client, url)?.0);
        ensure!(pods.iter().all(|pod| reached.contains(*pod)), "{client} reaches only {reached:?} at {url}");
        Ok(())
    })
}

pub(super) fn local_traffic_stays_on_its_node() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-owners")?;
        namespace.apply(&fill(DAEMON_SET, &[("{container}", &container("8080"))]))?;
        namespace.rolled_out("daemonset/agent")?;
        clients(&namespace)?;
        for client in NODES {
            wait::until_ok("the service answers", || ask(&namespace, client, "http://agent/"))?;
            for _ in 0..ENOUGH {
                let (pod, node) = ask(&namespace, client, "http://agent/")?;
                ensure!(node == client, "{pod} on {node} answers a client on {client}");
            }
        }
        has_requests(cluster, &namespace, &[("direction", "outbound"), ("dst_daemonset", "agent")])?;
        has_requests(cluster, &namespace, &[("direction", "inbound"), ("daemonset", "agent")])?;

        namespace.apply(&fill(JOBS, &[("{client}", CLIENT)]))?;
        namespace.kubectl(&["create", "job", "manual", "--from=cronjob/nightly"])?;
        for owner in [("job", "import"), ("cronjob", "nightly")] {
            let labels = [("direction", "outbound"), ("dst_daemonset", "agent"), owner];
            has_requests(cluster, &namespace, &labels)?;
        }
        Ok(())
    })
}

/// With a balancer that used both nodes, this many answers of one node would come once in a thousand times.
const ENOUGH: usize = 10;

/// Waits until the proxies have counted requests of this namespace with these labels.
fn has_requests(cluster: &Cluster, namespace: &Namespace<'_>, labels: &[(&str, &str)]) -> Result<()> {
    let labels = [labels, &[("namespace", namespace.name())]].concat();
    wait::until_ok_for(COUNTED, "requests are counted", || {
        let count = demo::metrics(cluster)?.value("request_total", &labels);
        ensure!(count > 0.0, "no request with {labels:?}");
        Ok(())
    })
}

/// With the start of a Job's pod.
const COUNTED: std::time::Duration = std::time::Duration::from_secs(180);
