//! Requests, success rates and latencies.

use futures::future::try_join_all;
use weft_api::viz::{Failure, HttpStats, LatencyMs};

use super::{ByEnds, Figures, Flow, Span, ends_of, labels_of};
use crate::query::{Filter, Grouping, Kind, Query, get};

const RESPONSES: &str = "response_total";
pub(super) const LATENCY: &str = "response_latency_ms";
const CLASS: &str = "classification";

impl Figures {
    /// The figures of a flow, by its ends. Groups without requests are left out.
    pub(crate) async fn http(
        &self,
        span: Span,
        flow: &Flow,
        by: &[Grouping],
    ) -> Result<ByEnds<HttpStats>, Failure> {
        let counts = self.counts(span, flow, by);
        let latencies = [50, 95, 99].map(|percent| self.quantile(span, flow, by, percent));
        let (counts, latencies) = futures::try_join!(counts, try_join_all(latencies))?;
        let with_latency = |(ends, (requests, failures)): (super::Ends, (f64, f64))| {
            let of = |index: usize| latencies.get(index).and_then(|found| found.get(&ends).copied());
            let latency = LatencyMs { p50: of(0), p95: of(1), p99: of(2) };
            let stats = HttpStats::of(requests, failures, span.covered, latency);
            (ends, stats)
        };
        Ok(counts.into_iter().map(with_latency).collect())
    }

    /// Requests and failures.
    pub(crate) async fn counts(
        &self,
        span: Span,
        flow: &Flow,
        by: &[Grouping],
    ) -> Result<ByEnds<(f64, f64)>, Failure> {
        let query = responses(span.seconds, flow, by).before(span.offset);
        let mut found = ByEnds::<(f64, f64)>::new();
        for sample in self.instant(&query, span.at).await?.iter().filter(|sample| sample.value > 0.0) {
            let (requests, failures) = found.entry(ends_of(by, &sample.labels)).or_default();
            *requests += sample.value;
            if get(&sample.labels, CLASS) == "failure" {
                *failures += sample.value;
            }
        }
        Ok(found)
    }

    /// A quantile of latencies in milliseconds.
    pub(crate) async fn quantile(
        &self,
        span: Span,
        flow: &Flow,
        by: &[Grouping],
        percent: u8,
    ) -> Result<ByEnds<f64>, Failure> {
        let query = latency(percent, span.seconds, flow, by).before(span.offset);
        let mut found = ByEnds::<f64>::new();
        for sample in self.instant(&query, span.at).await?.iter() {
            // Several groups can have the same ends if these are outside of the cluster.
            let value = found.entry(ends_of(by, &sample.labels)).or_default();
            *value = value.max(sample.value);
        }
        Ok(found)
    }
}

pub(super) fn responses(seconds: u64, flow: &Flow, by: &[Grouping]) -> Query {
    Query::new(RESPONSES, Kind::Increase(seconds)).filters(flow.all_filters()).by(labels_of(by)).by([CLASS])
}

pub(super) fn latency(percent: u8, seconds: u64, flow: &Flow, by: &[Grouping]) -> Query {
    Query::new(LATENCY, Kind::Quantile(percent, seconds)).filters(flow.all_filters()).by(labels_of(by))
}

/// The filter of failures.
pub(super) fn is_failure(labels: &crate::query::Labels) -> bool {
    Filter::is(CLASS, "failure").accepts(labels)
}
