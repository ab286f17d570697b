//! Answers questions from scrapes, as Prometheus would.

use std::collections::BTreeMap;

use crate::query::{Kind, Labels, Query, Sample, get};

/// A series of a proxy with its value now and about a minute ago.
pub(super) struct Series<'a> {
    pub(super) labels: &'a Labels,
    pub(super) now: f64,
    /// 0 if it did not exist yet; `None` if nothing is known of that time.
    pub(super) before: Option<f64>,
    /// Seconds between the two.
    pub(super) seconds: f64,
    /// The time of the scrape.
    pub(super) at: f64,
}

/// The value of each group. `series` are those of a metric.
pub(super) fn evaluate<'a>(query: &Query, series: impl FnOnce(&str) -> Vec<Series<'a>>) -> Vec<Sample> {
    // Nothing is known of earlier times.
    if query.offset > 0 {
        return Vec::new();
    }
    match query.kind {
        Kind::Quantile(percent, _) => {
            let buckets = groups(query, series(&format!("{}_bucket", query.metric)), true);
            quantiles(buckets, f64::from(percent) / 100.0)
        }
        _ => groups(query, series(query.metric), false)
            .into_iter()
            .map(|(labels, value)| Sample { labels, value })
            .collect(),
    }
}

fn groups(query: &Query, series: Vec<Series<'_>>, with_bound: bool) -> BTreeMap<Labels, f64> {
    let mut found = BTreeMap::new();
    for series in
        series.iter().filter(|series| query.filters.iter().all(|filter| filter.accepts(series.labels)))
    {
        let Some(value) = value(query.kind, series) else { continue };
        let by = query.by.iter().copied().chain(with_bound.then_some("le"));
        let labels: Labels = by
            .map(|label| (label.to_owned(), get(series.labels, label).to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        found
            .entry(labels)
            .and_modify(|sum: &mut f64| match query.kind {
                Kind::Min | Kind::FirstSeen(_) => *sum = sum.min(value),
                Kind::Max | Kind::LastSeen(_) => *sum = sum.max(value),
                _ => *sum += value,
            })
            .or_insert(value);
    }
    found
}

/// The value that a series contributes.
fn value(kind: Kind, series: &Series<'_>) -> Option<f64> {
    match kind {
        Kind::Increase(seconds) | Kind::Quantile(_, seconds) => {
            let before = series.before?;
            // A proxy that has restarted counts from 0.
            let increase = if series.now >= before { series.now - before } else { series.now };
            // As if the whole range had been like the part that is known.
            Some(increase * seconds as f64 / series.seconds)
        }
        Kind::Sum | Kind::Min | Kind::Max => Some(series.now),
        Kind::Peak(_) => Some(series.now.max(series.before.unwrap_or_default())),
        Kind::LastSeen(_) => Some(series.at),
        Kind::FirstSeen(_) => Some(series.at - series.seconds),
    }
}

/// As Prometheus computes them: linear within a bucket.
fn quantiles(buckets: BTreeMap<Labels, f64>, quantile: f64) -> Vec<Sample> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for (mut labels, count) in buckets {
        let Some(bound) = labels.remove("le").and_then(|bound| bound.parse().ok()) else { continue };
        histograms.entry(labels).or_default().push((bound, count));
    }
    let of = |(labels, mut buckets): (Labels, Vec<(f64, f64)>)| {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Some(Sample { labels, value: histogram_quantile(&buckets, quantile)? })
    };
    histograms.into_iter().filter_map(of).collect()
}

fn histogram_quantile(buckets: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let total = buckets.last()?.1;
    if total <= 0.0 {
        return None;
    }
    let rank = quantile * total;
    let at = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (bound, count) = buckets[at];
    let (below, before) = at.checked_sub(1).map_or((0.0, 0.0), |at| buckets[at]);
    if bound.is_infinite() {
        return Some(below);
    }
    if count <= before {
        return Some(bound);
    }
    Some(below + (bound - below) * (rank - before) / (count - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let buckets = [(1.0, 0.0), (2.0, 50.0), (5.0, 100.0), (f64::INFINITY, 100.0)];
        assert_eq!(histogram_quantile(&buckets, 0.5), Some(2.0));
        assert_eq!(histogram_quantile(&buckets, 0.75), Some(3.5));
        assert_eq!(histogram_quantile(&[(1.0, 0.0), (f64::INFINITY, 10.0)], 0.5), Some(1.0));
        assert_eq!(histogram_quantile(&[(1.0, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(histogram_quantile(&[], 0.5), None);
    }
}
