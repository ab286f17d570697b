//! `/api/overview`: what is wrong now, and totals.

use std::{collections::BTreeSet, sync::Arc};

use weft_api::viz::{Failure, HttpStats, LatencyMs, NodeCount, Overview, Secured, SecuredCount, Totals};

use super::{
    App, Ask,
    links::{Links, Scope, links},
    problems, timeseries,
};
use crate::{cluster::ClusterView, figures::Flow, query::Level};

pub(crate) async fn overview(app: Arc<App>, ask: Arc<Ask>) -> Result<Overview, Failure> {
    let scope = Scope {
        outbound: vec![Vec::new()],
        inbound: Some(Vec::new()),
        level: Level::Workload,
        addresses: false,
        seconds: ask.window.length().as_secs(),
    };
    let links = links(&ask, &scope).await?;
    let everything = Flow::inbound(Vec::new());
    let (mut http, series, problems) = futures::try_join!(
        ask.figures.http(ask.span(), &everything, &[]),
        timeseries::series(&app, &ask, None),
        problems::problems(&app, &ask),
    )?;
    let view = &ask.view;
    let pods: Vec<_> = view.pods.values().cloned().collect();
    let with_proxy: BTreeSet<_> = app.proxies.addresses(view).into_keys().collect();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let none = || HttpStats::of(0.0, 0.0, ask.span().covered, LatencyMs::default());
    Ok(Overview {
        totals: Totals {
            namespaces: number(view.namespaces.len()),
            nodes: NodeCount {
                total: number(view.nodes.len()),
                with_proxy: number(view.nodes.intersection(&with_proxy).count()),
            },
            pods: crate::cluster::count(&pods),
            http: http.remove(&Vec::new()).unwrap_or_else(none),
            secured: secured(view, &links),
        },
        series,
        problems,
    })
}

/// Open connections between meshed pods, and those in plaintext from what is not meshed.
fn secured(view: &ClusterView, links: &Links) -> SecuredCount {
    let mut count = SecuredCount::default();
    for (link, counts) in links {
        let Some(destination) = &link.destination else { continue };
        // Health checks of the node are no traffic of the application.
        if link.is_from_node() || !problems::is_meshed(view, destination) {
            continue;
        }
        let open = counts.open.round();
        let is_plaintext = matches!(link.secured, Secured::Plaintext { .. });
        match &link.source {
            Some(_) => {
                count.total += open;
                count.connections += if is_plaintext { 0.0 } else { open };
            }
            None if is_plaintext => count.plaintext_from_outside += open,
            None => {}
        }
    }
    count
}
