//! `weft viz check` on a real installation that is broken in one way after the other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_tests::kubernetes::{Cluster, wait};

use super::installed::{NAMESPACE, with_viz};
use crate::quick_start::{demo, passes};

/// Prometheus is asked again some time after it is back, and the API server looks at tap from time to time.
const SEEN: Duration = Duration::from_secs(150);
const HINTS: &str = "https://github.com/weft-mesh/weft/blob/main/docs/check.md";

/// A way in which weft-viz is broken, and what is said about it.
struct Reason {
    what: &'static str,
    break_it: fn(&Cluster) -> Result<()>,
    mend_it: fn(&Cluster) -> Result<()>,
    /// Options of `weft viz check`.
    options: &'static [&'static str],
    /// The checks that fail: their description, a part of the explanation, and the heading of the hint.
    found: &'static [[&'static str; 3]],
}

const PROXY: &[&str] = &["--proxy", "-n", demo::NAMESPACE];

const REASONS: &[Reason] = &[
    Reason {
        what: "web has no pod",
        break_it: |cluster| scale(cluster, "web", "0"),
        mend_it: |cluster| scale(cluster, "web", "1"),
        options: &[],
        found: &[
            [
                "viz extension pods are running",
                "no pod of the Deployment \"web\" exists",
                "weft-viz-pods-running",
            ],
            ["can initialize the viz client", "web", "weft-viz-existence-client"],
        ],
    },
    Reason {
        what: "tap has no pod",
        break_it: |cluster| scale(cluster, "tap", "0"),
        mend_it: |cluster| scale(cluster, "tap", "1"),
        options: &[],
        found: &[["tap API service is running", "v1alpha1.tap.linkerd.io", "weft-tap-api"]],
    },
    Reason {
        what: "Prometheus has no pod",
        break_it: |cluster| scale(cluster, "prometheus", "0"),
        mend_it: |cluster| scale(cluster, "prometheus", "1"),
        options: &[],
        found: &[
            [
                "prometheus is installed and configured correctly",
                "no pod of the Deployment \"prometheus\" is available",
                "weft-viz-prometheus",
            ],
            ["viz extension self-check", "Prometheus at", "weft-viz-metrics-api"],
        ],
    },
    Reason {
        what: "the namespace has no label",
        break_it: |cluster| label(cluster, "linkerd.io/extension-"),
        mend_it: |cluster| label(cluster, "linkerd.io/extension=viz"),
        options: &["--viz-namespace", NAMESPACE],
        found: &[["weft-viz Namespace exists", "has no label", "weft-viz-ns-exists"]],
    },
    Reason {
        what: "a ClusterRole is missing",
        break_it: |cluster| cluster.kubectl(&["delete", "clusterrole", "weft-viz-reader"]).map(drop),
        mend_it: upgrade,
        options: &[],
        found: &[["weft-viz ClusterRoles exist", "weft-viz-reader", "weft-viz-cr-exists"]],
    },
    Reason {
        what: "a ClusterRoleBinding is missing",
        break_it: |cluster| cluster.kubectl(&["delete", "clusterrolebinding", "weft-viz-tap"]).map(drop),
        mend_it: upgrade,
        options: &[],
        found: &[["weft-viz ClusterRoleBindings exist", "weft-viz-tap", "weft-viz-crb-exists"]],
    },
    Reason {
        what: "web is of another version",
        break_it: |cluster| version(cluster, "9.9.9"),
        mend_it: |cluster| version(cluster, env!("CARGO_PKG_VERSION")),
        options: &[],
        found: &[["viz extension and cli versions match", "runs 9.9.9", "weft-viz-cli-version"]],
    },
    Reason {
        what: "pods have opted out of taps",
        break_it: |cluster| annotate(cluster, "viz.linkerd.io/disable-tap=true"),
        mend_it: |cluster| annotate(cluster, "viz.linkerd.io/disable-tap-"),
        options: PROXY,
        found: &[["data plane pods have tap enabled", "voting", "weft-viz-data-plane-tap"]],
    },
    Reason {
        what: "a namespace has no meshed pod",
        break_it: |_| Ok(()),
        mend_it: |_| Ok(()),
        options: &["--proxy", "-n", "default"],
        found: &[[
            "data plane proxy metrics are present in Prometheus",
            "no running pod in \"default\"",
            "weft-viz-data-plane-prom",
        ]],
    },
    Reason {
        what: "a namespace does not exist",
        break_it: |_| Ok(()),
        mend_it: |_| Ok(()),
        options: &["--proxy", "-n", "nowhere"],
        found: &[[
            "data plane namespace exists",
            "The \"nowhere\" namespace does not exist",
            "weft-data-plane-exists",
        ]],
    },
];

pub(super) fn check_fails_for_each_reason() -> Result<()> {
    with_viz(|cluster| {
        for reason in REASONS {
            (reason.break_it)(cluster).context(reason.what)?;
            let found = wait::until_ok_for(SEEN, reason.what, || is_found(cluster, reason));
            (reason.mend_it)(cluster).context(reason.what)?;
            found?;
        }
        wait::until_ok_for(SEEN, "all is well again", || passes(&cluster.weft(&["viz", "check", "--proxy"])?))
    })
}

/// Whether each of the checks fails with the right explanation and hint.
fn is_found(cluster: &Cluster, reason: &Reason) -> Result<()> {
    let words = [&["viz", "check", "-o", "json", "--wait", "0s"], reason.options].concat();
    let output = cluster.weft_command(&words)?.output()?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let categories = report["categories"].as_array().context("no categories")?.iter();
    let checks: Vec<_> = categories.filter_map(|category| category["checks"].as_array()).flatten().collect();
    for [description, says, anchor] in reason.found {
        let check = checks.iter().find(|check| check["description"] == *description);
        let check = check.with_context(|| format!("{description:?} did not run: {report}"))?;
        let error = check["error"].as_str().with_context(|| format!("{description:?} passes: {report}"))?;
        ensure!(error.contains(says), "{says:?} is missing in {error:?}");
        ensure!(check["hint"] == format!("{HINTS}#{anchor}"), "{check}");
    }
    Ok(())
}

fn scale(cluster: &Cluster, component: &str, replicas: &str) -> Result<()> {
    let deployment = format!("deployment/{component}");
    let replicas = format!("--replicas={replicas}");
    cluster.kubectl(&["-n", NAMESPACE, "scale", &deployment, &replicas])?;
    cluster.rolled_out(NAMESPACE, &deployment)
}

/// Restores all objects.
fn upgrade(cluster: &Cluster) -> Result<()> {
    cluster.apply(&cluster.weft(&["viz", "install", "--upgrade"])?).map(drop)
}

fn label(cluster: &Cluster, label: &str) -> Result<()> {
    cluster.kubectl(&["label", "namespace", NAMESPACE, label]).map(drop)
}

fn version(cluster: &Cluster, version: &str) -> Result<()> {
    let label = format!("app.kubernetes.io/version={version}");
    cluster
        .kubectl(&["-n", NAMESPACE, "label", "--overwrite", "pod", "-l", "component=web", &label])
        .map(drop)
}

fn annotate(cluster: &Cluster, annotation: &str) -> Result<()> {
    cluster.kubectl(&["annotate", "--overwrite", "namespace", demo::NAMESPACE, annotation]).map(drop)
}
