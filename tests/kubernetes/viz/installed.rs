//! weft-viz and the demo on the tests' cluster, installed as a user installs them.

use std::time::Duration;

use anyhow::{Result, ensure};
use weft_tests::kubernetes::{Cluster, feed, wait};

use crate::{
    installed::with_weft,
    quick_start::{demo, passes},
};

pub(super) const NAMESPACE: &str = "weft-viz";
const DEPLOYMENTS: [&str; 3] = ["deployment/prometheus", "deployment/tap", "deployment/web"];
/// The first figures come after two scrapes.
const FIGURES: Duration = Duration::from_secs(60);

/// Runs a test with weft, the demo, meshed, and weft-viz. All stay for the next test.
pub(super) fn with_viz(test: impl FnOnce(&Cluster) -> Result<()>) -> Result<()> {
    with_weft(|cluster| {
        cluster.load_prometheus()?;
        if cluster.kubectl(&["get", "namespace", demo::NAMESPACE]).is_err() {
            demo::deploy(cluster)?;
        }
        let deployments = cluster.kubectl(&["-n", demo::NAMESPACE, "get", "deploy", "-o", "yaml"])?;
        cluster.apply(&feed(&mut cluster.weft_command(&["inject", "-"])?, &deployments)?)?;
        if cluster.kubectl(&["-n", NAMESPACE, "get", "deployment/web"]).is_err() {
            cluster.load_weft()?;
            cluster.apply(&cluster.weft(&["viz", "install"])?)?;
            passes(&cluster.weft(&["viz", "check"])?)?;
        }
        DEPLOYMENTS.iter().try_for_each(|deployment| cluster.rolled_out(NAMESPACE, deployment))?;
        wait::until_ok_for(FIGURES, "figures of the demo", || {
            let figures = stat(cluster, &["deployment/voting"])?;
            ensure!(figures[0]["success"].is_number(), "{figures}");
            Ok(())
        })?;
        test(cluster)
    })
}

/// The rows of `weft viz stat` for resources of the demo.
pub(super) fn stat(cluster: &Cluster, resources: &[&str]) -> Result<serde_json::Value> {
    let options = ["-n", demo::NAMESPACE, "-o", "json"];
    let text = cluster.weft(&[&["viz", "stat"], resources, &options].concat())?;
    Ok(serde_json::from_str(&text)?)
}

pub(super) fn uninstalling_leaves_nothing() -> Result<()> {
    with_viz(|cluster| {
        let uninstall = cluster.weft(&["viz", "uninstall"])?;
        feed(&mut cluster.kubectl_command(&["delete", "-f", "-"]), &uninstall)?;
        let kinds = "namespaces,clusterroles,clusterrolebindings,apiservices";
        let left = cluster.kubectl(&["get", kinds, "-l", "linkerd.io/extension=viz", "-o", "name"])?;
        ensure!(left.trim().is_empty(), "left: {left}");
        demo::is_meshed(cluster)?;
        demo::remove(cluster)
    })
}
