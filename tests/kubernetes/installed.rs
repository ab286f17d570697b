//! weft on the tests' cluster, installed as a user installs it.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use weft_tests::kubernetes::{Cluster, feed, on_cluster};

pub(crate) const NAMESPACE: &str = "weft";

const VIZ: &str = "weft-viz";
const DEMO: &str = "emojivoto";

/// Tests come one after the other, but that is the suite's affair.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Runs a test on the cluster with weft in the namespace `weft`. It stays for the next test.
pub(crate) fn with_weft(test: impl FnOnce(&Cluster) -> Result<()>) -> Result<()> {
    on_cluster(|cluster| {
        install(cluster)?;
        test(cluster)
    })
}

/// Runs a test on the cluster without weft. What a failed test has left is removed first.
pub(crate) fn without_weft(test: impl FnOnce(&Cluster) -> Result<()>) -> Result<()> {
    on_cluster(|cluster| {
        remove(cluster).context("removing what an earlier test has left")?;
        test(cluster)
    })
}

fn remove(cluster: &Cluster) -> Result<()> {
    let there = cluster.kubectl(&["get", "namespaces,crds", "-o", "name"])?;
    let ours = [NAMESPACE, VIZ, DEMO].map(|name| format!("namespace/{name}"));
    let is_left = there.lines().any(|name| name.contains("linkerd.io") || ours.iter().any(|own| own == name));
    if !is_left {
        return Ok(());
    }
    cluster.kubectl(&["delete", "namespace", DEMO, VIZ, "--ignore-not-found"])?;
    for arguments in [&["viz", "uninstall"][..], &["uninstall", "--force"], &["uninstall", "--crds"]] {
        // Fails if there is nothing to remove.
        if let Ok(objects) = cluster.weft(arguments) {
            let mut delete = cluster.kubectl_command(&["delete", "--ignore-not-found", "-f", "-"]);
            feed(&mut delete, &objects)?;
        }
    }
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found"]).map(drop)
}

fn install(cluster: &Cluster) -> Result<()> {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    cluster.load_toolbox()?;
    if cluster.kubectl(&["-n", NAMESPACE, "get", "daemonset/weft-proxy"]).is_err() {
        cluster.load_weft()?;
        cluster.apply(&cluster.weft(&["install", "--crds"])?)?;
        cluster.apply(&cluster.weft(&["install"])?)?;
    }
    cluster.rolled_out(NAMESPACE, "deployment/weft-control")?;
    cluster.rolled_out(NAMESPACE, "daemonset/weft-proxy")
}

/// The name of the proxy's pod that serves a node.
pub(crate) fn proxy_on(cluster: &Cluster, node: &str) -> Result<String> {
    let path = r#"go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{"\n"}}{{end}}{{end}}"#;
    let selector = "linkerd.io/control-plane-component=proxy";
    let node = format!("spec.nodeName={node}");
    let arguments = ["get", "pods", "-l", selector, "--field-selector", &node, "-o", path];
    let pods = cluster.kubectl(&[&["-n", NAMESPACE], &arguments[..]].concat())?;
    pods.lines().next().map(str::to_owned).with_context(|| format!("no proxy with {node}"))
}
