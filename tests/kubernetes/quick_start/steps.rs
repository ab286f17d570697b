//! The quick start, with `weft` and kubectl.

use anyhow::{Result, ensure};
use weft_tests::kubernetes::{Cluster, feed, on_cluster};

use super::demo;

pub(super) fn with_the_cli() -> Result<()> {
    on_cluster(|cluster| {
        cluster.load_weft()?;
        before(cluster)?;
        install(cluster)?;
        let injected = inject(cluster)?;
        leave(cluster, &injected)
    })
}

/// `weft version` and `weft check --pre` on a cluster without weft.
fn before(cluster: &Cluster) -> Result<()> {
    let version = cluster.weft(&["version"])?;
    ensure!(
        version.contains("Client version: ") && version.contains("Server version: unavailable"),
        "{version}"
    );
    passes(&cluster.weft(&["check", "--pre"])?)
}

/// `weft install --crds | kubectl apply -f -`, `weft install | kubectl apply -f -`, `weft check`.
fn install(cluster: &Cluster) -> Result<()> {
    cluster.apply(&cluster.weft(&["install", "--crds"])?)?;
    cluster.apply(&cluster.weft(&["install"])?)?;
    passes(&cluster.weft(&["check"])?)?;
    let version = cluster.weft(&["version"])?;
    ensure!(!version.contains("unavailable"), "{version}");
    Ok(())
}

/// The demo, and `kubectl get deploy -o yaml | weft inject - | kubectl apply -f -`.
fn inject(cluster: &Cluster) -> Result<demo::Lives> {
    demo::deploy(cluster)?;
    demo::doughnut_fails(cluster)?;
    let lives = demo::lives(cluster)?;

    let deployments = cluster.kubectl(&["-n", demo::NAMESPACE, "get", "deploy", "-o", "yaml"])?;
    cluster.apply(&feed(&mut cluster.weft_command(&["inject", "-"])?, &deployments)?)?;
    demo::is_meshed(cluster)?;
    demo::wire_is_encrypted(cluster)?;
    demo::doughnut_fails(cluster)?;
    let after = demo::lives(cluster)?;
    ensure!(after == lives, "joining the mesh has restarted pods: {lives:?}, then {after:?}");
    passes(&cluster.weft(&["--namespace", demo::NAMESPACE, "check", "--proxy"])?)?;
    Ok(lives)
}

/// `weft uninject`, `weft uninstall | kubectl delete -f -`: the pods run on.
fn leave(cluster: &Cluster, lives: &demo::Lives) -> Result<()> {
    let deployments = cluster.kubectl(&["-n", demo::NAMESPACE, "get", "deploy", "-o", "yaml"])?;
    cluster.apply(&feed(&mut cluster.weft_command(&["uninject", "-"])?, &deployments)?)?;
    uninstall(cluster)?;
    demo::doughnut_fails(cluster)?;
    let after = demo::lives(cluster)?;
    ensure!(after == *lives, "leaving the mesh has restarted pods: {lives:?}, then {after:?}");
    demo::remove(cluster)
}

/// The policy kinds are removed last, and separately: every policy goes with them.
fn uninstall(cluster: &Cluster) -> Result<()> {
    for what in [&["uninstall"][..], &["uninstall", "--crds"]] {
        feed(&mut cluster.kubectl_command(&["delete", "-f", "-"]), &cluster.weft(what)?)?;
    }
    Ok(())
}

/// Every check has passed, none with a warning.
pub(crate) fn passes(report: &str) -> Result<()> {
    ensure!(report.trim_end().ends_with("Status check results are √"), "{report}");
    ensure!(!report.contains('×'), "{report}");
    Ok(())
}
