//! Warnings that concern every answer with figures: their source is slow, or knows less than the window.

use std::{collections::BTreeSet, time::Duration};

use weft_api::viz::{Failure, Source};

use super::{
    App, Ask,
    nodes::{is_late, last_scrapes, not_scraped_text},
};
use crate::query::Kind;

/// The calls whose answers have figures of the window.
const WITH_FIGURES: [&str; 11] = [
    "authz",
    "edges",
    "outbound",
    "overview",
    "pods",
    "policy-reports",
    "resource",
    "routes",
    "timeseries",
    "topology",
    "tps-reports",
];
/// Other calls whose answers are partly made of figures.
const WITH_STATES: [&str; 2] = ["control-plane", "nodes"];
/// An answer that takes longer tells so.
const SLOW: Duration = Duration::from_secs(3);
/// Nodes that are named in warnings.
const MAX_NODES: usize = 5;
/// What each question for a warning may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Finds out what warnings and rates of an answer depend on, before it is made.
pub(crate) async fn prepare(app: &App, ask: &Ask, call: &str) {
    if WITH_FIGURES.contains(&call) || WITH_STATES.contains(&call) {
        ask.learn_history(app).await;
    }
}

/// Adds them to an answer that took so long.
pub(crate) async fn warn(app: &App, ask: &Ask, call: &str, took: Duration) {
    if WITH_FIGURES.contains(&call) || WITH_STATES.contains(&call) {
        about_outage(app, ask);
    }
    if !WITH_FIGURES.contains(&call) {
        return;
    }
    let source = match ask.figures.source() {
        Source::Prometheus => "Prometheus",
        Source::Proxies => "weft-viz",
    };
    if took > SLOW {
        let seconds = took.as_secs_f64();
        let message = format!("This answer took {seconds:.0} s: {source} or this machine is slow.");
        ask.warn("source_slow", message);
    }
    // A failure to tell would be a failure of the answer, too.
    let _ = tokio::time::timeout(LIMIT, not_scraped(app, ask)).await;
    let (window, interval) = (ask.window.length().as_secs_f64(), app.settings.scrape_interval.as_secs_f64());
    if let Some(known) = ask.history().filter(|known| is_too_short(*known, window, interval)) {
        let message = format!("The figures are of the last {}: {source} has none of before.", words(known));
        ask.warn("history_too_short", message);
    }
}

/// Prometheus is there and does not answer.
fn about_outage(app: &App, ask: &Ask) {
    if ask.needs_prometheus() {
        return;
    }
    if let Some(Failure { message, .. }) = app.sources.outage() {
        let message = format!("{message} These are figures of the last minute, read from the proxies.");
        ask.warn("prometheus_unavailable", message);
    }
}

/// Nodes with pods that the answer is about, and without figures of now.
async fn not_scraped(app: &App, ask: &Ask) -> Option<()> {
    let pods = match ask.resource() {
        Ok(Some(resource)) => ask.view.pods_of(&resource),
        _ => match ask.namespace() {
            Some(namespace) => ask.view.in_namespace(namespace).cloned().collect(),
            None => ask.view.pods.values().cloned().collect(),
        },
    };
    let nodes: BTreeSet<&str> =
        pods.iter().filter(|pod| pod.meshed).filter_map(|pod| pod.node.as_deref()).collect();
    let scraped = last_scrapes(ask).await.ok()?;
    let addresses = app.proxies.addresses(&ask.view);
    let mut missing = Vec::new();
    for node in nodes {
        if !addresses.contains_key(node) && !scraped.contains_key(node) {
            missing.push((
                "node_without_proxy",
                format!("Figures of node {node} are missing: it has no proxy."),
            ));
        } else if is_late(app, ask, scraped.get(node).copied()) {
            missing.push(("node_not_scraped", not_scraped_text(node)));
        }
    }
    let more = missing.len().saturating_sub(MAX_NODES);
    for (code, message) in missing.into_iter().take(MAX_NODES) {
        ask.warn(code, message);
    }
    if more > 0 {
        ask.warn("node_not_scraped", format!("Figures of {more} more nodes are missing."));
    }
    Some(())
}

/// Two scrapes, and the steps in which the beginning is looked for, make no difference.
pub(super) fn is_too_short(known: f64, window: f64, interval: f64) -> bool {
    known + Kind::seen_step(window as u64) as f64 + 2.0 * interval < window
}

pub(super) fn words(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{:.0} s", s.max(0.0)),
        s if s < 5400.0 => format!("{:.0} minutes", s / 60.0),
        s => format!("{:.1} hours", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_too_short_if_a_part_of_the_window_is_missing() {
        assert!(is_too_short(20.0, 60.0, 5.0));
        assert!(!is_too_short(45.0, 60.0, 10.0), "two scrapes later it is complete");
        assert!(is_too_short(1800.0, 3600.0, 10.0) && !is_too_short(3560.0, 3600.0, 10.0));
        assert_eq!([20.4, 600.0, 7200.0].map(words), ["20 s", "10 minutes", "2.0 hours"]);
    }
}
