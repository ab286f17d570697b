//! A node that the DaemonSet leaves out.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use weft_tests::kubernetes::{Cluster, NODES, wait};

use super::{SERVER, served};
use crate::{
    installed::{NAMESPACE, proxy_on, with_weft},
    quick_start::passes,
};

const WITHOUT: &str = NODES[1];
/// The proxy waits for its open connections to end.
const GONE: Duration = Duration::from_secs(300);

pub(super) fn pods_of_a_node_without_a_proxy_are_reported() -> Result<()> {
    with_weft(|cluster| {
        let namespace = cluster.namespace("node-absent")?;
        cluster.kubectl(&["annotate", "namespace", namespace.name(), "linkerd.io/inject=enabled"])?;
        leave_out(cluster, Some(WITHOUT))?;
        let reported =
            wait::until_ok_for(GONE, "the node has no proxy", || match proxy_on(cluster, WITHOUT) {
                Ok(pod) => bail!("{pod} is still there"),
                Err(_) => Ok(()),
            })
            .and_then(|()| {
                namespace.apply(&SERVER.replace("{node}", WITHOUT))?;
                namespace.pod_ready("server")?;
                is_reported(cluster, namespace.name())
            });
        // Also after a failure: other tests need both proxies.
        reported.and(leave_out(cluster, None))?;
        cluster.rolled_out(NAMESPACE, "daemonset/weft-proxy")?;
        // The pod that has run all the time joins the mesh.
        served(cluster, WITHOUT, &format!("{}/server", namespace.name()))?;
        passes(&cluster.weft(&["-n", namespace.name(), "check", "--proxy"])?)
    })
}

/// Has the DaemonSet leave out a node, or none.
fn leave_out(cluster: &Cluster, node: Option<&str>) -> Result<()> {
    let affinity = node.map_or_else(
        || "null".to_owned(),
        |node| {
            format!(
                r#"{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[
                {{"matchExpressions":[{{"key":"kubernetes.io/hostname","operator":"NotIn","values":["{node}"]}}]}}]}}}}}}"#
            )
        },
    );
    let patch = format!(r#"{{"spec":{{"template":{{"spec":{{"affinity":{affinity}}}}}}}}}"#);
    cluster.kubectl(&["-n", NAMESPACE, "patch", "daemonset/weft-proxy", "--patch", &patch]).map(drop)
}

/// Both checks fail, and name the node, the pod and the page that helps.
fn is_reported(cluster: &Cluster, namespace: &str) -> Result<()> {
    let report = match cluster.weft(&["-n", namespace, "check", "--proxy", "--wait", "5s"]) {
        Ok(report) => bail!("nothing is reported: {report}"),
        Err(error) => format!("{error:#}"),
    };
    for text in [
        "× node proxy is running on all nodes",
        &format!("{WITHOUT}: no pod of the DaemonSet \"weft-proxy\""),
        "docs/check.md#weft-proxy-on-all-nodes",
        "× data plane proxies are ready",
        &format!("{namespace}/server: there is no ready proxy on its node \"{WITHOUT}\""),
        "docs/check.md#weft-data-plane-ready",
    ] {
        ensure!(report.contains(text), "no {text:?} in:\n{report}");
    }
    Ok(())
}
