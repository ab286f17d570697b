//! An outage of the API server while clients send requests, and a state that has changed when it comes back.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use weft_tests::kubernetes::{Cluster, NODES, Namespace, wait};

use super::{
    etcd::Etcd,
    load::Load,
    manifests::{clients, deploy, fill, meshed, request, server},
};
use crate::installed::{NAMESPACE, with_weft};

/// As when the machine restarts that all run on. A controller manager that went on would take all nodes for dead, because
/// no kubelet could renew its lease, and would withdraw every endpoint for a while, those of DNS too.
const PROGRAMS: [&str; 3] = ["kube-scheduler", "kube-controller-manager", "kube-apiserver"];
/// Longer than each pause of weft-control's before it tries again.
const OUTAGE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(5);
/// A replica tries again after 10 s at most.
const ARRIVES: Duration = Duration::from_secs(120);

/// Nobody may connect to this port of these pods.
const SERVER: &str = "
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: {name}}
spec:
  podSelector: {matchLabels: {app: {name}}}
  port: 8080
";

pub(super) fn traffic_outlives_an_outage_of_the_api_server() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-outage")?;
        deploy(&namespace)?;
        for name in ["closing", "opening"] {
            server(&namespace, name, NODES[1], "all-authenticated")?;
            namespace.apply(&fill(SERVER, &[("{name}", name)]))?;
        }
        clients(&namespace)?;
        answers(&namespace, "opening", 403)?;
        answers(&namespace, "closing", 403)?;
        let etcd = Etcd::of(cluster);
        let key = |name: &str| format!("/registry/policy.linkerd.io/servers/{}/{name}", namespace.name());
        let closing = etcd.get(&key("closing"))?;
        namespace.kubectl(&["delete", "server/closing"])?;
        answers(&namespace, "closing", 200)?;
        let load = Load::start(cluster, &namespace, "web")?;

        PROGRAMS.iter().try_for_each(|program| cluster.stop_program(program))?;
        let during = during(cluster, &load, || {
            etcd.put(&key("closing"), &closing)?;
            etcd.delete(&key("opening"))
        });
        PROGRAMS.iter().rev().try_for_each(|program| cluster.start_program(program))?;
        during?;

        answers(&namespace, "closing", 403)?;
        answers(&namespace, "opening", 200)?;
        namespace.kubectl(&["rollout", "restart", "deployment/web"])?;
        // The kubelets ask for their pods again up to a minute after the API server is back.
        namespace.rolled_out("deployment/web")?;
        load.goes_on()?;
        load.lost_nothing()?;
        cluster.rolled_out(NAMESPACE, "deployment/weft-control")
    })
}

/// The outage: what is stored changes in its middle.
fn during(cluster: &Cluster, load: &Load<'_>, change: impl FnOnce() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    let away = cluster.kubectl(&["get", "nodes", "--request-timeout=2s"]).is_err();
    ensure!(away, "the API server still answers");
    let wait_until = |time: Duration| -> Result<()> {
        while begun.elapsed() < time {
            load.goes_on()?;
            thread::sleep(PAUSE);
        }
        Ok(())
    };
    wait_until(OUTAGE / 2)?;
    change()?;
    wait_until(OUTAGE)?;
    load.lost_nothing()
}

/// Waits until a client on each node gets this status from a server.
fn answers(namespace: &Namespace<'_>, server: &str, expected: u16) -> Result<()> {
    NODES.iter().try_for_each(|client| {
        wait::until_ok_for(ARRIVES, "the policy arrives", || {
            let (status, _) = request(namespace, client, &format!("http://{server}/"))?;
            ensure!(status == expected, "{client} gets {status} from {server}, not {expected}");
            Ok(())
        })
    })
}
