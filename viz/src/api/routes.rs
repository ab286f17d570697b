//! `/api/routes`: figures per route. There are no routes yet but the default one and health checks.

use std::{collections::BTreeMap, sync::Arc};

use weft_api::viz::{Failure, HttpStats, LatencyMs, ResourceRef, ResourceType, RouteRow};

use super::{
    App, Ask,
    route_metrics::{BY, DEFAULT, KINDS, Metrics, key_of},
    route_sparks,
};
use crate::{
    cluster::ServiceView,
    figures::{Ends, Flow},
    query::{Direction, Filter, Kind, Query, Side, filters_of, get},
};

pub(crate) async fn routes(app: Arc<App>, ask: Arc<Ask>) -> Result<Vec<RouteRow>, Failure> {
    ask.explain_none(rows(app, &ask).await?)
}

async fn rows(app: Arc<App>, ask: &Ask) -> Result<Vec<RouteRow>, Failure> {
    let resource = ask.needed_resource()?;
    if let Some(to) = ask.to()? {
        let to = filters_of(Side::Destination, &to);
        return outbound(&app, ask, &resource.namespace, ask.own_filters(&resource), to).await;
    }
    if resource.kind == ResourceType::Service {
        let to = filters_of(Side::Destination, &resource);
        return outbound(&app, ask, &resource.namespace, Vec::new(), to).await;
    }
    let filters = filters_of(Side::Own, &resource);
    let rows = KINDS.iter().map(|metrics| inbound(ask, &filters, metrics));
    let mut all = Rows::new();
    for found in futures::future::try_join_all(rows).await? {
        for (key, (requests, failures, latency)) in found {
            let row = all.entry(key).or_default();
            row.0 += requests;
            row.1 += failures;
            let worse = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            };
            row.2 = LatencyMs {
                p50: worse(row.2.p50, latency.p50),
                p95: worse(row.2.p95, latency.p95),
                p99: worse(row.2.p99, latency.p99),
            };
        }
    }
    precise_latencies(ask, &filters, &mut all).await?;
    let mut sparks = match ask.params.spark {
        Some(true) => route_sparks::of(&app, ask, &filters).await?,
        _ => BTreeMap::new(),
    };
    let seconds = ask.span().covered;
    let row = |(key, (requests, failures, latency)): ((String, String), _)| RouteRow {
        spark: sparks.remove(&key),
        service: service_of(ask, &resource, &key.1),
        route: key.0,
        http: HttpStats::of(requests, failures, seconds, latency),
        actual: None,
    };
    Ok(all.into_iter().map(row).collect())
}

/// Requests, failures and latencies, by route and port.
type Rows = BTreeMap<(String, String), (f64, f64, LatencyMs)>;

/// The figures by route have few buckets. Those of all requests are more precise, and nearly all have no route.
async fn precise_latencies(ask: &Ask, filters: &[Filter], rows: &mut Rows) -> Result<(), Failure> {
    let window = ask.window.length().as_secs();
    let quantiles = [50, 95, 99].map(|percent| {
        let query = Query::new("response_latency_ms", Kind::Quantile(percent, window))
            .filters(filters.iter().cloned())
            .filter(Direction::Inbound.filter())
            .by(["srv_port"]);
        async move { ask.figures.instant(&query, ask.at).await }
    });
    for (index, samples) in futures::future::try_join_all(quantiles).await?.iter().enumerate() {
        for sample in samples.iter() {
            let key = (DEFAULT.to_owned(), get(&sample.labels, "srv_port").to_owned());
            if let Some((_, _, latency)) = rows.get_mut(&key) {
                match index {
                    0 => latency.p50 = Some(sample.value),
                    1 => latency.p95 = Some(sample.value),
                    _ => latency.p99 = Some(sample.value),
                }
            }
        }
    }
    Ok(())
}

/// The service that leads to a port of a resource, if there is only one; otherwise the port.
fn service_of(ask: &Ask, resource: &ResourceRef, port: &str) -> String {
    let pods = ask.view.pods_of(resource);
    let has = |service: &ServiceView| {
        port.parse().is_ok_and(|port| service.pod_ports.contains(&port))
            && service.pods.iter().any(|pod| pods.iter().any(|own| Arc::ptr_eq(own, pod)))
    };
    let mut services = ask.view.services.iter().filter(|(_, service)| has(service));
    match (services.next(), services.next()) {
        (Some(((_, name), _)), None) => name.clone(),
        _ => format!("port {port}"),
    }
}

/// What a resource received, by route and port.
async fn inbound(ask: &Ask, filters: &[Filter], metrics: &Metrics) -> Result<Rows, Failure> {
    let window = ask.window.length().as_secs();
    let counts = Query::new(metrics.statuses, Kind::Increase(window))
        .filters(filters.iter().cloned())
        .by(BY)
        .by([metrics.status, "error"]);
    let quantiles = [50, 95, 99].map(|percent| {
        let query = Query::new(metrics.duration, Kind::Quantile(percent, window))
            .filters(filters.iter().cloned())
            .by(BY);
        async move { ask.figures.instant(&query, ask.at).await }
    });
    let counts = ask.figures.instant(&counts, ask.at);
    let (counts, quantiles) = futures::try_join!(counts, futures::future::try_join_all(quantiles))?;
    let mut rows = Rows::new();
    for sample in counts.iter().filter(|sample| sample.value > 0.0) {
        let row = rows.entry(key_of(&sample.labels)).or_default();
        row.0 += sample.value;
        row.1 += if metrics.is_failure(&sample.labels) { sample.value } else { 0.0 };
    }
    for (index, samples) in quantiles.iter().enumerate() {
        for sample in samples.iter() {
            if let Some((_, _, latency)) = rows.get_mut(&key_of(&sample.labels)) {
                let milliseconds = Some(sample.value * 1000.0);
                match index {
                    0 => latency.p50 = milliseconds,
                    1 => latency.p95 = milliseconds,
                    _ => latency.p99 = milliseconds,
                }
            }
        }
    }
    Ok(rows)
}

/// What was sent to a resource, by the service that was asked. One of another namespace than `home` has that after its
/// name.
async fn outbound(
    app: &App,
    ask: &Ask,
    home: &str,
    mut filters: Vec<Filter>,
    to: Vec<Filter>,
) -> Result<Vec<RouteRow>, Failure> {
    filters.extend(to);
    let by = [ask.grouping(Side::Destination, crate::query::Level::Service)];
    let flow = Flow::outbound(filters);
    let found = ask.figures.http(ask.span(), &flow, &by).await?;
    let wanted = if ask.params.spark == Some(true) { found.len() } else { 0 };
    let mut sparks = ask.sparks(app, &flow, &by, wanted).await?;
    let row = |(ends, http): (Ends, HttpStats)| RouteRow {
        spark: sparks.remove(&ends),
        route: DEFAULT.to_owned(),
        service: match ends.into_iter().next().flatten() {
            Some(service) if service.namespace == home => service.name,
            Some(service) => format!("{}.{}", service.name, service.namespace),
            None => "-".to_owned(),
        },
        http,
        actual: None,
    };
    let mut rows: Vec<_> = found.into_iter().map(row).collect();
    rows.sort_by(|a, b| a.service.cmp(&b.service));
    Ok(rows)
}
