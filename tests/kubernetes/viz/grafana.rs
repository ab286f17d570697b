//! Grafana's dashboard of containers: only a real Kubernetes has its figures.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_tests::{kubernetes::wait, prometheus::query_at};

use super::installed::{NAMESPACE, with_viz};
use crate::quick_start::demo;

const DASHBOARD: &str = include_str!("../../../deploy/grafana/dashboards/kubernetes.json");
/// Four scrape intervals, as Grafana takes.
const RATE_INTERVAL: &str = "1m";
/// Kubelets read the figures of containers every 10 to 15 s; a rate needs two.
const SEEN: Duration = Duration::from_secs(120);
const PORT: u16 = 9090;

pub(super) fn every_panel_of_containers_has_data() -> Result<()> {
    with_viz(|cluster| {
        let prometheus = cluster.forward(NAMESPACE, "deployment/prometheus", PORT)?;
        let queries = queries()?;
        ensure!(queries.len() >= 8, "only {} queries", queries.len());
        for (title, text) in queries {
            let text = text.replace("$__rate_interval", RATE_INTERVAL).replace("$namespace", demo::NAMESPACE);
            wait::until_ok_for(SEEN, &title, || {
                let samples = query_at(prometheus.address(), &text)?;
                ensure!(samples.iter().any(|sample| !sample.value.is_nan()), "{title}: no data: {text}");
                Ok(())
            })?;
        }
        Ok(())
    })
}

/// Titles and queries of all panels.
fn queries() -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().context("no panels")? {
        let title = panel["title"].as_str().unwrap_or_default();
        let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        found.extend(
            targets.iter().filter_map(|target| Some((title.to_owned(), target["expr"].as_str()?.to_owned()))),
        );
    }
    Ok(found)
}
