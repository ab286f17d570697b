//! An outage of the API server while clients send requests, and a state that changes when it comes back.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use weft_tests::{
    kubernetes::{Cluster, NODES},
    wait,
};

use super::{
    load::Load,
    manifests::{clients, deploy, meshed, request, server},
};
use crate::installed::{NAMESPACE, with_weft};

/// Longer than each pause of weft-control's before it tries again.
const OUTAGE: Duration = Duration::from_secs(15);
/// A replica tries again after 10 s at most.
const ARRIVES: Duration = Duration::from_secs(40);

/// Ends what the clients may do at the server.
const SERVER: &str = "
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: closed}
spec:
  podSelector: {matchLabels: {app: server}}
  port: 8080
";

pub(super) fn traffic_outlives_an_outage_of_the_api_server() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-outage")?;
        deploy(&namespace)?;
        server(&namespace, "server", NODES[1], "all-authenticated")?;
        clients(&namespace)?;
        let (status, _) = request(&namespace, NODES[0], "http://server/")?;
        ensure!(status == 200, "before the outage: {status}");
        let load = Load::start(cluster, &namespace, "web")?;

        cluster.stop_program("kube-apiserver")?;
        let during = during(cluster, &load);
        cluster.start_program("kube-apiserver")?;
        during?;
        // Before the control plane has connected again.
        namespace.apply(SERVER)?;
        namespace.kubectl(&["rollout", "restart", "deployment/web"])?;

        wait::until_ok_for(ARRIVES, "the policy arrives", || {
            let (status, _) = request(&namespace, NODES[0], "http://server/")?;
            ensure!(status == 403, "{status}");
            Ok(())
        })?;
        namespace.rolled_out("deployment/web")?;
        load.goes_on()?;
        load.lost_nothing()?;
        cluster.rolled_out(NAMESPACE, "deployment/weft-control")
    })
}

fn during(cluster: &Cluster, load: &Load<'_>) -> Result<()> {
    let away = cluster.kubectl(&["get", "nodes", "--request-timeout=2s"]).is_err();
    ensure!(away, "the API server still answers");
    load.goes_on()?;
    thread::sleep(OUTAGE);
    load.goes_on()?;
    load.lost_nothing()
}
