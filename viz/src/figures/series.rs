//! The course of figures over time.

use futures::future::try_join_all;
use weft_api::viz::{Failure, Series, Spark};

use super::{ByEnds, Figures, Flow, ends_of, http};
use crate::query::{Grouping, Times};

pub(crate) const MAX_SERIES_VALUES: u64 = 120;
pub(crate) const MAX_SPARK_VALUES: u64 = 30;
/// A series covers at least this many seconds.
const MIN_LENGTH: u64 = 300;

/// The times of a series, and how many seconds each of its values covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resolution {
    pub(crate) times: Times,
    range: u64,
}

impl Resolution {
    /// How many seconds each value covers.
    pub(crate) fn range(&self) -> u64 {
        self.range
    }

    /// For a window of `seconds` that ends at `at`. Steps are at least the scrape interval, and times are multiples of a
    /// step, so that a chart does not wobble between two answers.
    pub(crate) fn new(at: u64, seconds: u64, max_values: u64, scrape_interval: u64) -> Self {
        let length = seconds.max(MIN_LENGTH);
        let step = length.div_ceil(max_values - 1).max(scrape_interval).max(1);
        let to = at / step * step;
        let times = Times { from: to.saturating_sub(length / step * step), to, step };
        // Prometheus needs two scrapes for a rate; a third one makes up for one that failed. What happens between the last
        // scrape of one range and the first of the next one would be in neither, so ranges overlap by an interval.
        Self { times, range: step.max(2 * scrape_interval) + scrape_interval }
    }
}

impl Figures {
    pub(crate) async fn series(
        &self,
        resolution: Resolution,
        flow: &Flow,
        by: &[Grouping],
    ) -> Result<ByEnds<Series>, Failure> {
        self.lines(resolution, flow, by, &[50, 95, 99]).await
    }

    pub(crate) async fn sparks(
        &self,
        resolution: Resolution,
        flow: &Flow,
        by: &[Grouping],
    ) -> Result<ByEnds<Spark>, Failure> {
        let series = self.lines(resolution, flow, by, &[99]).await?;
        Ok(series.into_iter().map(|(ends, series)| (ends, spark(series))).collect())
    }

    async fn lines(
        &self,
        resolution: Resolution,
        flow: &Flow,
        by: &[Grouping],
        percents: &[u8],
    ) -> Result<ByEnds<Series>, Failure> {
        let Resolution { times, range } = resolution;
        let counts = http::responses(range, flow, by);
        let quantiles = percents.iter().map(|percent| {
            let query = http::latency(*percent, range, flow, by);
            async move { Ok((*percent, self.range(&query, times).await?)) }
        });
        let (counts, quantiles) = futures::try_join!(self.range(&counts, times), try_join_all(quantiles))?;
        let mut totals = ByEnds::<Vec<(f64, f64)>>::new();
        for line in counts.iter() {
            let total =
                totals.entry(ends_of(by, &line.labels)).or_insert_with(|| vec![(0.0, 0.0); times.count()]);
            for (total, value) in total.iter_mut().zip(&line.values) {
                total.0 += value.unwrap_or_default();
                if http::is_failure(&line.labels) {
                    total.1 += value.unwrap_or_default();
                }
            }
        }
        let mut found: ByEnds<Series> =
            totals.into_iter().map(|(ends, totals)| (ends, rates(&totals, resolution))).collect();
        for (percent, lines) in &quantiles {
            for line in lines.iter() {
                if let Some(series) = found.get_mut(&ends_of(by, &line.labels)) {
                    let place = match percent {
                        50 => &mut series.p50,
                        95 => &mut series.p95,
                        _ => &mut series.p99,
                    };
                    place.clone_from(&line.values);
                }
            }
        }
        Ok(found)
    }
}

fn spark(series: Series) -> Spark {
    let Series { from, step, success_rate, rps, p99, .. } = series;
    Spark { from, step, success_rate, rps, p99 }
}

/// The small chart of requests and failures, and of a quantile if it is known.
pub(crate) fn spark_of(
    totals: &[(f64, f64)],
    p99: Option<Vec<Option<f64>>>,
    resolution: Resolution,
) -> Spark {
    let series = rates(totals, resolution);
    spark(Series { p99: p99.unwrap_or(series.p99), ..series })
}

/// A series without traffic.
pub(crate) fn empty(resolution: Resolution) -> Series {
    rates(&vec![(0.0, 0.0); resolution.times.count()], resolution)
}

fn rates(totals: &[(f64, f64)], resolution: Resolution) -> Series {
    let none = vec![None; totals.len()];
    let has = |(requests, _): &(f64, f64)| *requests > 0.0;
    Series {
        from: resolution.times.from as f64,
        step: resolution.times.step as f64,
        success_rate: totals
            .iter()
            .map(|total| has(total).then(|| (1.0 - total.1 / total.0).clamp(0.0, 1.0)))
            .collect(),
        rps: totals.iter().map(|total| has(total).then(|| total.0 / resolution.range as f64)).collect(),
        p50: none.clone(),
        p95: none.clone(),
        p99: none,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_covers_the_window_but_at_least_five_minutes() {
        for (seconds, length) in [(60, 300), (600, 600), (3600, 3600), (21_600, 21_600)] {
            for max in [MAX_SPARK_VALUES, MAX_SERIES_VALUES] {
                let Resolution { times, range } = Resolution::new(1_700_000_003, seconds, max, 10);
                assert!(times.count() as u64 <= max, "{seconds} s: {times:?}");
                assert!(times.to - times.from + times.step > length, "{seconds} s: {times:?}");
                assert!(times.step >= 10 && range >= 30);
                assert_eq!(times.to % times.step, 0);
            }
        }
    }

    #[test]
    fn values_without_requests_are_none() {
        let resolution = Resolution::new(1000, 60, 30, 10);
        let series = rates(&[(0.0, 0.0), (60.0, 15.0)], resolution);
        assert_eq!(series.success_rate, [None, Some(0.75)]);
        assert_eq!(series.rps, [None, Some(60.0 / resolution.range as f64)]);
    }
}
