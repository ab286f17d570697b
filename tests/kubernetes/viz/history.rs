//! A persistent volume for Prometheus.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use weft_tests::{
    kubernetes::{Cluster, NODES, wait},
    prometheus::query_at,
};

use super::installed::{NAMESPACE, with_viz};

const PORT: u16 = 9090;
const FOLDER: &str = "/var/lib/weft-history";
const CLASS: &str = "weft-history";
/// Prometheus scrapes every ten seconds, and starts within a few.
const SEEN: Duration = Duration::from_secs(90);
/// The first scrape that Prometheus knows, in Unix seconds.
const FIRST: &str = "min(min_over_time(timestamp(process_start_time_seconds{job=\"weft-proxy\"})[1h:5s]))";
/// A scrape within the last seconds.
const NOW: &str = "max(timestamp(process_start_time_seconds{job=\"weft-proxy\"}))";

pub(super) fn a_volume_keeps_figures_over_a_restart_of_prometheus() -> Result<()> {
    with_viz(|cluster| {
        cluster.inside(NODES[0], &["sh", "-c", &format!("mkdir -p {FOLDER} && chmod 777 {FOLDER}")])?;
        cluster.apply(&volume().to_string())?;
        let tested = on_volume(cluster);
        // Figures are in the pod again, as for the other tests.
        upgrade(cluster, &[])?;
        cluster.kubectl(&["-n", NAMESPACE, "delete", "pvc/prometheus"])?;
        cluster.kubectl(&["delete", "pv/weft-history"])?;
        cluster.inside(NODES[0], &["rm", "-rf", FOLDER])?;
        tested
    })
}

fn on_volume(cluster: &Cluster) -> Result<()> {
    let class = format!("prometheus.persistence.storageClass={CLASS}");
    upgrade(cluster, &["--set", "prometheus.persistence.enabled=true", "--set", &class])?;
    let (first, now) = known(cluster, 0.0)?;
    ensure!(now >= first, "{first} {now}");
    cluster.kubectl(&["-n", NAMESPACE, "delete", "pod", "-l", "component=prometheus"])?;
    cluster.rolled_out(NAMESPACE, "deployment/prometheus")?;
    let (first_after, _) = known(cluster, now)?;
    ensure!(first_after <= first + 0.5, "figures from {first} on are gone: they begin at {first_after}");
    Ok(())
}

/// When the first and the last scrape were, once the last one is later than `earlier`.
fn known(cluster: &Cluster, earlier: f64) -> Result<(f64, f64)> {
    let prometheus = cluster.forward(NAMESPACE, "deployment/prometheus", PORT)?;
    let ask = |text: &str| -> Result<f64> {
        let samples = query_at(prometheus.address(), text)?;
        Ok(samples.first().with_context(|| format!("{text}: no scrape yet"))?.value)
    };
    wait::until_ok_for(SEEN, "scrapes", || {
        let (first, last) = (ask(FIRST)?, ask(NOW)?);
        ensure!(last > earlier, "the last scrape was at {last}");
        Ok((first, last))
    })
}

fn upgrade(cluster: &Cluster, options: &[&str]) -> Result<()> {
    cluster.apply(&cluster.weft(&[&["viz", "install", "--upgrade"], options].concat())?)?;
    cluster.rolled_out(NAMESPACE, "deployment/prometheus")
}

/// A folder of the first node.
fn volume() -> serde_json::Value {
    let hostname = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": [NODES[0]] });
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "weft-history" },
        "spec": {
            "capacity": { "storage": "8Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": FOLDER },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [hostname] }] } },
        },
    })
}
