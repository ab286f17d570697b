//! A pod that must be meshed, and a control plane that is away.

use anyhow::{Result, ensure};
use weft_tests::kubernetes::{Cluster, Namespace, wait};

use super::{client, mesh};
use crate::installed::{NAMESPACE, with_weft};

const CONTROL: &str = "linkerd.io/control-plane-component=control";

pub(super) fn a_pod_that_must_be_meshed_waits_for_the_control_plane() -> Result<()> {
    with_weft(|cluster| {
        let (namespace, server) = mesh(cluster, "node-held")?;
        let held = away(cluster).and_then(|()| is_held(&namespace, &server));
        // Also after a failure: other tests need the control plane.
        held.and(scale(cluster, "1"))?;
        cluster.rolled_out(NAMESPACE, "deployment/weft-control")?;
        namespace.pod_ready("meshed")?;
        let answer = namespace.kubectl(&["logs", "meshed", "-c", "first"])?;
        ensure!(answer.trim() == "hello", "{answer}");
        Ok(())
    })
}

fn scale(cluster: &Cluster, replicas: &str) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    cluster.kubectl(&["-n", NAMESPACE, "scale", "deployment/weft-control", &replicas]).map(drop)
}

fn away(cluster: &Cluster) -> Result<()> {
    scale(cluster, "0")?;
    wait::until_ok("the control plane has ended", || {
        let pods = cluster.kubectl(&["-n", NAMESPACE, "get", "pods", "-l", CONTROL, "-o", "name"])?;
        ensure!(pods.trim().is_empty(), "{pods}");
        Ok(())
    })
}

/// The pod's event says why, and none of its containers has started.
fn is_held(namespace: &Namespace<'_>, server: &str) -> Result<()> {
    namespace.apply(&client("meshed", "enabled", server))?;
    wait::until_ok("the pod is held", || {
        let of = "--field-selector=involvedObject.name=meshed";
        let events = namespace.kubectl(&["get", "events", of, "-o", "jsonpath={.items[*].message}"])?;
        ensure!(events.contains("its fail mode is closed"), "{events}");
        Ok(())
    })?;
    let state = r"jsonpath={.status.initContainerStatuses[*].state}";
    let state = namespace.kubectl(&["get", "pod/meshed", "-o", state])?;
    ensure!(!state.contains("running") && !state.contains("terminated"), "a container has started: {state}");
    Ok(())
}
