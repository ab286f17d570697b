//! Figures of traffic by resource, from Prometheus or from the proxies themselves.

mod history;
mod http;
mod series;
mod sources;
mod tcp;

use std::{collections::HashMap, sync::Arc};

use futures::future::BoxFuture;
use weft_api::viz::{Failure, ResourceRef, Source};

pub(crate) use self::{
    series::{MAX_SERIES_VALUES, MAX_SPARK_VALUES, Resolution, empty as empty_series, spark_of},
    sources::Sources,
};
use crate::{
    prometheus::Prometheus,
    proxies::Scrapes,
    query::{Direction, Filter, Grouping, Labels, Line, Query, Sample, Times},
};

/// Who answers a call's questions about the proxies' metrics.
#[derive(Clone, Debug)]
pub(crate) enum Figures {
    Prometheus(Arc<Prometheus>),
    /// Without Prometheus: what the proxies said within the last minute.
    Proxies(Arc<Scrapes>),
}

/// Traffic that is counted.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) direction: Direction,
    pub(crate) filters: Vec<Filter>,
}

/// The seconds over which figures are computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Where they end.
    pub(crate) at: u64,
    pub(crate) seconds: u64,
    /// Of how many of them there are figures. Rates are counts by these seconds.
    pub(crate) covered: f64,
    /// How much earlier than `at` they end in truth.
    pub(crate) offset: u64,
}

/// The resources at the ends by which figures are grouped; `None` is everything that is no resource.
pub(crate) type Ends = Vec<Option<ResourceRef>>;

pub(crate) type ByEnds<T> = HashMap<Ends, T>;

impl Figures {
    /// The future is boxed: answers are made of many.
    pub(crate) fn instant<'a>(
        &'a self,
        query: &'a Query,
        at: u64,
    ) -> BoxFuture<'a, Result<Arc<Vec<Sample>>, Failure>> {
        Box::pin(async move {
            match self {
                Self::Prometheus(prometheus) => prometheus.instant(query, at).await,
                Self::Proxies(scrapes) => Ok(Arc::new(scrapes.instant(query))),
            }
        })
    }

    /// Without Prometheus there is no history, and the answer is empty.
    pub(crate) fn range<'a>(
        &'a self,
        query: &'a Query,
        times: Times,
    ) -> BoxFuture<'a, Result<Arc<Vec<Line>>, Failure>> {
        Box::pin(async move {
            match self {
                Self::Prometheus(prometheus) => prometheus.range(query, times).await,
                Self::Proxies(_) => Ok(Arc::default()),
            }
        })
    }

    pub(crate) fn source(&self) -> Source {
        match self {
            Self::Prometheus(_) => Source::Prometheus,
            Self::Proxies(_) => Source::Proxies,
        }
    }
}

impl Flow {
    pub(crate) fn inbound(filters: Vec<Filter>) -> Self {
        Self { direction: Direction::Inbound, filters }
    }

    pub(crate) fn outbound(filters: Vec<Filter>) -> Self {
        Self { direction: Direction::Outbound, filters }
    }

    fn all_filters(&self) -> impl Iterator<Item = Filter> {
        std::iter::once(self.direction.filter()).chain(self.filters.iter().cloned())
    }
}

impl Span {
    pub(crate) fn new(at: u64, seconds: u64) -> Self {
        Self { at, seconds, covered: seconds as f64, offset: 0 }
    }

    #[must_use]
    pub(crate) fn covering(self, covered: f64) -> Self {
        Self { covered, ..self }
    }

    #[must_use]
    pub(crate) fn before(self, offset: u64) -> Self {
        Self { offset, ..self }
    }
}

/// The labels of all groupings together.
fn labels_of(by: &[Grouping]) -> Vec<&'static str> {
    let mut labels: Vec<_> = by.iter().flat_map(|grouping| grouping.labels()).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

fn ends_of(by: &[Grouping], labels: &Labels) -> Ends {
    by.iter().map(|grouping| grouping.resource(labels)).collect()
}
