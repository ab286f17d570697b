//! Parts of weft that are killed while clients send requests.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    capture::{Capture, End, Packet},
    kubernetes::{Cluster, NODES, Namespace, wait},
    netns::Netns,
};

use super::{
    load::Load,
    manifests::{clients, deploy, meshed, request, server},
};
use crate::installed::{self, NAMESPACE, with_weft};

/// The kubelet notices, and starts the container again.
const RESTARTED: Duration = Duration::from_secs(180);
/// Sends a line every now and then, and says when that fails.
const CONNECTION: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: open}
spec:
  nodeName: "{node}"
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  containers:
    - name: connection
      image: localhost/weft-toolbox:1
      command: [sh, -c, "(while sleep 0.2; do echo line; done) | socat - TCP:server:9000; echo ended"]
"#;

pub(super) fn a_killed_proxy_comes_back() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-killed")?;
        cluster.kubectl(&[
            "annotate",
            "namespace",
            namespace.name(),
            "config.linkerd.io/default-inbound-policy=all-authenticated",
        ])?;
        server(&namespace, "server", NODES[1], "all-authenticated")?;
        deploy(&namespace)?;
        clients(&namespace)?;
        namespace.apply(&CONNECTION.replace("{node}", NODES[0]))?;
        let log = || namespace.kubectl(&["logs", "open"]);
        wait::until_ok("the connection is open", || {
            let log = log()?;
            ensure!(log.contains("line"), "{log}");
            Ok(())
        })?;
        let load = Load::start(cluster, &namespace, "web")?;
        let address: IpAddr = namespace.field("pod/server", ".status.podIP")?.parse()?;

        let proxy = installed::proxy_on(cluster, NODES[0])?;
        let restarts = || restarts(cluster, &proxy);
        let before = restarts()?;
        let capture = Capture::on(&Netns::at(cluster.node_netns(NODES[0])), "eth0")?;
        kill(cluster, NODES[0], "weft-proxy run")?;
        // While there is none, the client's requests are refused.
        let _ = request(&namespace, NODES[0], &format!("http://{address}:8080/"));
        wait::until_ok_for(RESTARTED, "the kubelet has started the proxy again", || {
            let now = restarts()?;
            ensure!(now > before, "{now} restarts, {before} before");
            cluster.kubectl(&[
                "-n",
                NAMESPACE,
                "wait",
                "--for=condition=Ready",
                &format!("pod/{proxy}"),
                "--timeout=30s",
            ])
        })?;
        load.goes_on()?;
        wait::until_ok("a request after the restart is answered", || {
            let (status, _) = request(&namespace, NODES[0], &format!("http://{address}:8080/"))?;
            ensure!(status == 200, "{status}");
            Ok(())
        })?;
        let captured = capture.finish()?;

        wait::until_ok("the connection of the killed proxy has ended", || {
            let log = log()?;
            ensure!(log.contains("ended"), "{}", log.lines().last().unwrap_or_default());
            Ok(())
        })?;
        let pods = addresses(&namespace)?;
        only_tls(captured.packets.iter().filter(|packet| pods.contains_key(&packet.destination.0)))?;
        let failures = load.failures()?.len();
        load.goes_on()?;
        ensure!(
            load.failures()?.len() == failures,
            "requests fail long after the restart: {:?}",
            load.failures()?
        );
        println!("{failures} lines of clients are no answers, all of them from the time without a proxy");
        Ok(())
    })
}

/// The pods of the namespace by their addresses.
fn addresses(namespace: &Namespace<'_>) -> Result<BTreeMap<IpAddr, String>> {
    let path = r#"jsonpath={range .items[*]}{.status.podIP} {.metadata.name}{"\n"}{end}"#;
    let pods = namespace.kubectl(&["get", "pods", "-o", path])?;
    let pod = |line: &str| {
        let (address, name) = line.split_once(' ')?;
        Some((address.parse().ok()?, name.to_owned()))
    };
    Ok(pods.lines().filter_map(pod).collect())
}

/// What goes from node to node to a pod is TLS: each direction of each connection shows the start of a record at the
/// start of a segment, as the proxies write them.
fn only_tls<'a>(packets: impl Iterator<Item = &'a Packet>) -> Result<()> {
    let mut connections: BTreeMap<(End, End), (bool, &Packet)> = BTreeMap::new();
    for packet in packets {
        let is_tls = matches!(packet.payload.as_slice(), [22 | 23, 3, 1..=3, ..]);
        let entry = connections.entry((packet.source, packet.destination)).or_insert((false, packet));
        entry.0 |= is_tls;
    }
    ensure!(!connections.is_empty(), "nothing was captured");
    let plain: Vec<_> = connections.values().filter(|(is_tls, _)| !is_tls).collect();
    ensure!(plain.is_empty(), "plaintext: {plain:#?}");
    Ok(())
}

fn restarts(cluster: &Cluster, pod: &str) -> Result<u32> {
    let path = "jsonpath={.status.containerStatuses[0].restartCount}";
    let count = cluster.kubectl(&["-n", NAMESPACE, "get", "pod", pod, "-o", path])?;
    count.trim().parse().with_context(|| count.clone())
}

/// Kills the processes of a node whose command line contains this.
fn kill(cluster: &Cluster, node: &str, command: &str) -> Result<()> {
    // The brackets keep the shell's own command line from matching.
    let (first, rest) = command.split_at(1);
    let script = format!(
        "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '[{first}]{rest}' && kill -9 ${{p#/proc/}}; done; true"
    );
    cluster.inside(node, &["sh", "-c", &script]).map(drop)
}

pub(super) fn one_of_two_replicas_is_killed() -> Result<()> {
    with_weft(|cluster| {
        let scale = |replicas: &str| {
            let replicas = format!("--replicas={replicas}");
            cluster.kubectl(&["-n", NAMESPACE, "scale", "deployment/weft-control", &replicas])?;
            cluster.rolled_out(NAMESPACE, "deployment/weft-control")
        };
        scale("2")?;
        let result = kill_a_replica(cluster);
        result.and(scale("1"))
    })
}

fn kill_a_replica(cluster: &Cluster) -> Result<()> {
    let namespace = meshed(cluster, "mesh-replicas")?;
    deploy(&namespace)?;
    let load = Load::start(cluster, &namespace, "web")?;
    // One that an earlier test has removed may still be ending.
    let path = r#"go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{.spec.nodeName}}{{"\n"}}{{end}}{{end}}"#;
    let selector = "linkerd.io/control-plane-component=control";
    let replicas = cluster.kubectl(&["-n", NAMESPACE, "get", "pods", "-l", selector, "-o", path])?;
    ensure!(replicas.lines().count() == 2, "{replicas}");
    let (replica, node) =
        replicas.lines().next().and_then(|line| line.split_once(' ')).context("no replica")?;
    let before = restarts(cluster, replica)?;
    kill_pod(cluster, node, replica)?;
    // It starts while one replica is missing, and lets in only identities.
    server(&namespace, "server", NODES[0], "all-authenticated")?;
    clients(&namespace)?;
    wait::until_ok("a pod that has just started is meshed", || {
        let (status, _) = request(&namespace, NODES[1], "http://server/")?;
        ensure!(status == 200, "{status}");
        Ok(())
    })?;
    wait::until_ok_for(RESTARTED, "the replica is back", || {
        let now = restarts(cluster, replica)?;
        ensure!(now > before, "{now} restarts, {before} before");
        cluster.rolled_out(NAMESPACE, "deployment/weft-control")
    })?;
    load.goes_on()?;
    load.lost_nothing()
}

/// Kills the processes of one pod, by the containers' IDs.
fn kill_pod(cluster: &Cluster, node: &str, pod: &str) -> Result<()> {
    let path = "jsonpath={.status.containerStatuses[0].containerID}";
    let id = cluster.kubectl(&["-n", NAMESPACE, "get", "pod", pod, "-o", path])?;
    let id = id.trim().strip_prefix("containerd://").with_context(|| id.clone())?;
    cluster.inside(node, &["ctr", "-n", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", id]).map(drop)
}
