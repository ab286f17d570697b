//! Questions about the proxies' metrics, independent of who answers them.

mod labels;
mod promql;

pub(crate) use self::labels::{
    BARE, BARE_DST, Direction, Grouping, Level, Side, filters_of, is_of_no_owner, label_of,
};

/// The name of a metric with the values of its labels.
pub(crate) type Labels = std::collections::BTreeMap<String, String>;

/// A value for every group of series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Query {
    pub(crate) metric: &'static str,
    pub(crate) filters: Vec<Filter>,
    /// The labels that groups have in common. There is one group for each combination of their values.
    pub(crate) by: Vec<&'static str>,
    pub(crate) kind: Kind,
    /// Seconds before the time of the question.
    pub(crate) offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The sum of the increases of counters within this many seconds.
    Increase(u64),
    /// The sum of the values of gauges.
    Sum,
    /// The smallest, or largest value.
    Min,
    Max,
    /// The sum of the largest values within this many seconds.
    Peak(u64),
    /// The latest time at which a gauge had a value, within this many seconds.
    LastSeen(u64),
    /// The earliest time at which a gauge had a value, within this many seconds, in steps of [`Kind::seen_step`].
    FirstSeen(u64),
    /// A quantile in percent of the increase of a histogram within this many seconds. `metric` is the histogram's name
    /// without `_bucket`.
    Quantile(u8, u64),
}

/// What a label has to be. A label that is absent is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Filter {
    Is(&'static str, String),
    In(&'static str, Vec<String>),
}

/// The value of one group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// The values of one group at regular times.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) labels: Labels,
    pub(crate) values: Vec<Option<f64>>,
}

/// Regular times, in seconds. Both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Times {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) step: u64,
}

impl Kind {
    /// The seconds between two times at which a gauge is looked at, in a range.
    pub(crate) fn seen_step(range: u64) -> u64 {
        (range / 120).max(2)
    }
}

impl Query {
    pub(crate) fn new(metric: &'static str, kind: Kind) -> Self {
        Self { metric, filters: Vec::new(), by: Vec::new(), kind, offset: 0 }
    }

    #[must_use]
    pub(crate) fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    #[must_use]
    pub(crate) fn filters(mut self, filters: impl IntoIterator<Item = Filter>) -> Self {
        self.filters.extend(filters);
        self
    }

    #[must_use]
    pub(crate) fn by(mut self, labels: impl IntoIterator<Item = &'static str>) -> Self {
        self.by.extend(labels);
        self
    }

    #[must_use]
    pub(crate) fn before(self, offset: u64) -> Self {
        Self { offset, ..self }
    }
}

impl Filter {
    pub(crate) fn is(label: &'static str, value: impl Into<String>) -> Self {
        Self::Is(label, value.into())
    }

    pub(crate) fn accepts(&self, labels: &Labels) -> bool {
        let value = |label: &str| labels.get(label).map_or("", String::as_str);
        match self {
            Self::Is(label, wanted) => value(label) == wanted,
            Self::In(label, wanted) => wanted.iter().any(|wanted| wanted == value(label)),
        }
    }
}

impl Times {
    pub(crate) fn count(self) -> usize {
        usize::try_from((self.to - self.from) / self.step).unwrap_or_default() + 1
    }
}

/// The value of a label; an absent label is empty.
pub(crate) fn get<'a>(labels: &'a Labels, label: &str) -> &'a str {
    labels.get(label).map_or("", String::as_str)
}
