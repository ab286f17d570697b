//! Checks that docs/metrics.md has every metric of weft-control, and no other.

use std::collections::BTreeSet;

use super::Metrics;
use crate::{model::Kind, testing};

/// Metrics in which each family has a series: a family without one is not written.
fn filled() -> Metrics {
    let metrics = Metrics::new();
    drop(metrics.call("destination.Get", true));
    metrics.set_index_objects(&testing::cluster(""));
    metrics.refused("bad_token");
    metrics.token_review("accepted");
    metrics.node_call_refused("bad_token");
    metrics.handshake("ok");
    metrics.reviewed("Server", "allowed");
    let watch = metrics.watch(Kind::Pod);
    watch.listed();
    watch.failed();
    metrics
}

#[test]
fn every_metric_is_documented_and_no_other() {
    const DOCUMENT: &str = include_str!("../../../docs/metrics.md");
    let section = DOCUMENT.split("\n## weft-control\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let documented: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split(" |").next())
        .flat_map(|names| names.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    let text = filled().text();
    let exported: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    assert_eq!(exported.iter().map(String::as_str).collect::<BTreeSet<_>>(), documented);
}
