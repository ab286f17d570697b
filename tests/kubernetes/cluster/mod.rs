//! The cluster itself: nodes, network, names, commands into pods, an outage of the API server, and its end.

pub(crate) mod census;
mod end;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    kubernetes::{Cluster, NODES, Namespace, on_cluster, wait},
    suite::Area,
};
use weft_vm::KubectlForward;

/// The first one starts the cluster.
const LIMIT: Duration = Duration::from_secs(600);

pub(crate) fn area() -> Area {
    Area::without_cluster("kubernetes::cluster")
        .bare("nodes_are_ready", "Both nodes are ready, with a containerd that has NRI.", nodes_are_ready)
        .within(LIMIT)
        .bare(
            "services_are_reached_by_name",
            "A pod on each node reaches the pods of a service on both nodes by its name, and they see its own address.",
            services_are_reached_by_name,
        )
        .within(LIMIT)
        .bare(
            "commands_reach_pods",
            "kubectl's logs, exec and port-forward work, and the API server reaches pods through services.",
            commands_reach_pods,
        )
        .within(LIMIT)
        .bare(
            "node_pods_find_the_usual_paths",
            "A privileged pod finds containerd, NRI, cgroup v2 and the BPF file system of its node where every node has \
             them, and what it mounts reaches the node.",
            node_pods_find_the_usual_paths,
        )
        .within(LIMIT)
        .bare(
            "pods_outlive_an_outage_of_the_api_server",
            "While the API server is away, pods serve; afterwards everything is as it was.",
            pods_outlive_an_outage_of_the_api_server,
        )
        .within(LIMIT)
        .bare(
            "down_leaves_nothing",
            "After `down` there is no process, mount, cgroup, namespace, link or file of the cluster.",
            end::down_leaves_nothing,
        )
        .within(LIMIT)
}

fn nodes_are_ready() -> Result<()> {
    on_cluster(|cluster| {
        let path = r#"jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status} {.status.nodeInfo.containerRuntimeVersion}{"\n"}{end}"#;
        let nodes = cluster.kubectl(&["get", "nodes", "-o", path])?;
        for node in NODES {
            let line = nodes.lines().find(|line| line.starts_with(node)).context(node)?;
            ensure!(line.contains(" True containerd://2."), "{line}");
            let plugins = cluster.inside(node, &["ctr", "plugins", "ls"])?;
            let nri = plugins.lines().find(|line| line.contains("io.containerd.nri.v1")).context("no NRI")?;
            ensure!(nri.trim_end().ends_with("ok"), "{node}: {nri}");
        }
        Ok(())
    })
}

/// A server that answers with its own name and the client's address, and a client, on each node.
fn pods(namespace: &Namespace<'_>) -> Result<()> {
    let mut manifests = SERVICE.to_owned();
    for node in NODES {
        manifests += &POD.replace("{node}", node);
    }
    namespace.apply(&manifests)?;
    NODES.iter().try_for_each(|node| namespace.pod_ready(node))
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
";

const POD: &str = r#"
---
apiVersion: v1
kind: Pod
metadata: {name: "{node}", labels: {app: web}}
spec:
  nodeName: "{node}"
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: localhost/weft-toolbox:1
      env: [{name: NODE, value: "{node}"}]
      command: [sh, -c]
      args:
        - |
          cat > /tmp/answer <<'END'
          while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
          printf 'HTTP/1.0 200 OK\r\n\r\n'
          echo "$NODE $SOCAT_PEERADDR"
          echo "served $NODE" >&2
          END
          exec socat TCP-LISTEN:8080,fork,reuseaddr EXEC:'sh /tmp/answer'
      readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 5}
"#;

fn services_are_reached_by_name() -> Result<()> {
    on_cluster(|cluster| {
        cluster.load_toolbox()?;
        let namespace = cluster.namespace("cluster-names")?;
        pods(&namespace)?;
        for client in NODES {
            let address = namespace.field(&format!("pod/{client}"), ".status.podIP")?;
            let mut reached = BTreeSet::new();
            wait::until_ok("answers of both servers", || {
                let answer = ask(&namespace, client)?;
                let (server, seen) = answer.trim().split_once(' ').with_context(|| answer.clone())?;
                // A pod that reaches itself through a service has the node's address: only it can send to itself.
                ensure!(server == client || seen == address, "{server} sees {seen}, not {address}");
                reached.insert(server.to_owned());
                ensure!(reached.len() == NODES.len(), "only {reached:?}");
                Ok(())
            })?;
        }
        Ok(())
    })
}

fn ask(namespace: &Namespace<'_>, client: &str) -> Result<String> {
    let url = format!("http://web.{}.svc.cluster.local", namespace.name());
    namespace.exec(client, &["curl", "-sS", "--http1.0", "--max-time", "5", &url])
}

fn commands_reach_pods() -> Result<()> {
    on_cluster(|cluster| {
        cluster.load_toolbox()?;
        let namespace = cluster.namespace("cluster-commands")?;
        pods(&namespace)?;
        for node in NODES {
            ensure!(namespace.exec(node, &["hostname"])?.trim() == node, "exec reaches another pod");
            let forward = cluster.forward(namespace.name(), &format!("pod/{node}"), 8080)?;
            let answer = get(&forward)?;
            ensure!(answer.contains(&format!("{node} ")), "port-forward: {answer}");
            wait::until_ok("the log", || {
                let log = namespace.kubectl(&["logs", node])?;
                ensure!(log.contains(&format!("served {node}")), "{log}");
                Ok(())
            })?;
        }
        let path = format!("/api/v1/namespaces/{}/services/http:web:80/proxy/", namespace.name());
        wait::until_ok("the API server's proxy reaches the service", || {
            let answer = cluster.kubectl(&["get", "--raw", &path])?;
            ensure!(answer.starts_with("weft-"), "{answer}");
            Ok(())
        })
    })
}

fn get(forward: &KubectlForward) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(forward.address())?;
    stream.set_read_timeout(Some(wait::EVENTUALLY))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

const PRIVILEGED: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: agent}
spec:
  hostPID: true
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
    - name: agent
      image: localhost/weft-toolbox:1
      command: [sleep, "100000"]
      securityContext: {privileged: true}
      volumeMounts:
        - {name: run, mountPath: /run, mountPropagation: HostToContainer}
        - {name: cgroup, mountPath: /sys/fs/cgroup, mountPropagation: HostToContainer}
        - {name: bpf, mountPath: /sys/fs/bpf, mountPropagation: Bidirectional}
  volumes:
    - {name: run, hostPath: {path: /run}}
    - {name: cgroup, hostPath: {path: /sys/fs/cgroup}}
    - {name: bpf, hostPath: {path: /sys/fs/bpf, type: Directory}}
"#;

fn node_pods_find_the_usual_paths() -> Result<()> {
    on_cluster(|cluster| {
        cluster.load_toolbox()?;
        let namespace = cluster.namespace("cluster-paths")?;
        namespace.apply(PRIVILEGED)?;
        namespace.pod_ready("agent")?;
        for socket in ["/run/containerd/containerd.sock", "/run/nri/nri.sock"] {
            namespace.exec("agent", &["test", "-S", socket])?;
        }
        let own = "cat /proc/self/cgroup | sed -n 's/^0:://p'";
        let path = namespace.exec("agent", &["sh", "-c", own])?;
        ensure!(path.starts_with("/kubepods"), "the pod's cgroup is {path}");
        let find = format!("test -d /sys/fs/cgroup{0} || test -d /sys/fs/cgroup/unified{0}", path.trim());
        namespace.exec("agent", &["sh", "-c", &find])?;

        let mount = "mkdir -p /sys/fs/bpf/test && mount -t bpf test /sys/fs/bpf/test";
        namespace.exec("agent", &["sh", "-c", mount])?;
        let node = namespace.field("pod/agent", ".spec.nodeName")?;
        let mounts = cluster.inside(&node, &["cat", "/proc/1/mounts"])?;
        ensure!(mounts.contains("/sys/fs/bpf/test bpf"), "the mount does not reach the node:\n{mounts}");
        namespace.exec("agent", &["sh", "-c", "umount /sys/fs/bpf/test && rmdir /sys/fs/bpf/test"])?;

        let first = namespace.exec("agent", &["cat", "/proc/1/cmdline"])?;
        ensure!(first.contains("node-init"), "process 1 is {first:?}, not the node's");
        Ok(())
    })
}

fn pods_outlive_an_outage_of_the_api_server() -> Result<()> {
    on_cluster(|cluster| {
        cluster.load_toolbox()?;
        let namespace = cluster.namespace("cluster-outage")?;
        pods(&namespace)?;
        let before = identities(&namespace)?;
        cluster.stop_program("kube-apiserver")?;
        let outage = during_the_outage(cluster);
        cluster.start_program("kube-apiserver")?;
        outage?;
        ensure!(identities(&namespace)? == before, "pods were replaced or restarted");
        wait::until_ok("a server answers", || ask(&namespace, NODES[0])).map(drop)
    })
}

fn during_the_outage(cluster: &Cluster) -> Result<()> {
    ensure!(
        cluster.kubectl(&["get", "nodes", "--request-timeout=2s"]).is_err(),
        "the API server still answers"
    );
    // The node's programs and the pods run on.
    cluster.inside(NODES[1], &["ctr", "-n", "k8s.io", "tasks", "ls"]).map(drop)
}

fn identities(namespace: &Namespace<'_>) -> Result<String> {
    let path =
        r#"jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}"#;
    namespace.kubectl(&["get", "pods", "-l", "app=web", "-o", path])
}
