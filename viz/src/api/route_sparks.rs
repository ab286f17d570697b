//! The small charts of routes.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use weft_api::viz::{Failure, Spark};

use super::{
    App, Ask,
    route_metrics::{BY, DEFAULT, KINDS, Metrics, key_of},
};
use crate::{
    figures::{MAX_SPARK_VALUES, Resolution, spark_of},
    query::{Direction, Filter, Kind, Query, get},
};

const PERCENT: u8 = 99;

type Course = Vec<Option<f64>>;
/// By route and port.
type ByRoute<T> = BTreeMap<(String, String), T>;

/// What a resource received.
pub(super) async fn of(app: &App, ask: &Ask, filters: &[Filter]) -> Result<ByRoute<Spark>, Failure> {
    let resolution = ask.resolution(app, MAX_SPARK_VALUES);
    let all = try_join_all(KINDS.iter().map(|metrics| of_kind(ask, filters, metrics, resolution)));
    let (all, precise) = futures::try_join!(all, of_default_routes(ask, filters, resolution))?;
    let mut totals = ByRoute::<Vec<(f64, f64)>>::new();
    let mut latencies = ByRoute::<Course>::new();
    for (counts, quantiles) in all {
        for (key, course) in counts {
            let sums = totals.entry(key).or_insert_with(|| vec![(0.0, 0.0); course.len()]);
            for (sum, (requests, failures)) in sums.iter_mut().zip(course) {
                sum.0 += requests;
                sum.1 += failures;
            }
        }
        for (key, course) in quantiles {
            merge(latencies.entry(key).or_default(), course);
        }
    }
    latencies.extend(precise);
    let spark = |(key, totals): ((String, String), Vec<(f64, f64)>)| {
        let spark = spark_of(&totals, latencies.remove(&key), resolution);
        (key, spark)
    };
    Ok(totals.into_iter().map(spark).collect())
}

/// Requests with failures, and latencies, of HTTP or of gRPC.
async fn of_kind(
    ask: &Ask,
    filters: &[Filter],
    metrics: &Metrics,
    resolution: Resolution,
) -> Result<(ByRoute<Vec<(f64, f64)>>, ByRoute<Course>), Failure> {
    let counts = Query::new(metrics.statuses, Kind::Increase(resolution.range()))
        .filters(filters.iter().cloned())
        .by(BY)
        .by([metrics.status, "error"]);
    let quantiles = Query::new(metrics.duration, Kind::Quantile(PERCENT, resolution.range()))
        .filters(filters.iter().cloned())
        .by(BY);
    let (counts, quantiles) = futures::try_join!(
        ask.figures.range(&counts, resolution.times),
        ask.figures.range(&quantiles, resolution.times)
    )?;
    let mut totals = ByRoute::<Vec<(f64, f64)>>::new();
    for line in counts.iter() {
        let course =
            totals.entry(key_of(&line.labels)).or_insert_with(|| vec![(0.0, 0.0); line.values.len()]);
        let is_failure = metrics.is_failure(&line.labels);
        for (total, value) in course.iter_mut().zip(&line.values) {
            let value = value.unwrap_or_default();
            total.0 += value;
            total.1 += if is_failure { value } else { 0.0 };
        }
    }
    let mut latencies = ByRoute::<Course>::new();
    for line in quantiles.iter() {
        let milliseconds = line.values.iter().map(|value| value.map(|seconds| seconds * 1000.0));
        merge(latencies.entry(key_of(&line.labels)).or_default(), milliseconds.collect());
    }
    Ok((totals, latencies))
}

/// The latencies of all requests, which are more precise than those by route, for what has no route.
async fn of_default_routes(
    ask: &Ask,
    filters: &[Filter],
    resolution: Resolution,
) -> Result<ByRoute<Course>, Failure> {
    let query = Query::new("response_latency_ms", Kind::Quantile(PERCENT, resolution.range()))
        .filters(filters.iter().cloned())
        .filter(Direction::Inbound.filter())
        .by(["srv_port"]);
    let found = ask.figures.range(&query, resolution.times).await?;
    let course = |line: &crate::query::Line| {
        let port = get(&line.labels, "srv_port").to_owned();
        ((DEFAULT.to_owned(), port), line.values.clone())
    };
    Ok(found.iter().map(course).collect())
}

/// The worse of two at each time.
fn merge(course: &mut Course, other: Course) {
    if course.is_empty() {
        *course = other;
        return;
    }
    for (value, other) in course.iter_mut().zip(other) {
        *value = match (*value, other) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
    }
}
