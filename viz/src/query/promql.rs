//! Writes questions in PromQL.

use std::fmt::{self, Display, Write};

use super::{
    Filter, Kind, Query,
    labels::{BARE, BARE_DST, OWNER_LABELS, OWNER_LABELS_DST},
};

impl Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (metric, offset) = (self.metric, Offset(self.offset));
        let filters = Filters(&self.filters);
        let raw = match self.kind {
            Kind::Increase(seconds) => increase(&format!("{metric}{filters}"), seconds, self.offset),
            Kind::Sum | Kind::Min | Kind::Max => format!("{metric}{filters}{offset}"),
            Kind::Peak(seconds) => format!("max_over_time({metric}{filters}[{seconds}s]{offset})"),
            Kind::LastSeen(seconds) => {
                // The steps alone would miss what is known for less than one of them.
                let times = format!("timestamp({metric}{filters}{offset})");
                format!("({times} or max_over_time({times}[{seconds}s:15s]))")
            }
            Kind::FirstSeen(seconds) => {
                let step = Kind::seen_step(seconds);
                // What is known for less than a step has a value at none of them.
                let times = format!("timestamp({metric}{filters}{offset})");
                format!("(min_over_time({times}[{seconds}s:{step}s]) or {times})")
            }
            Kind::Quantile(_, seconds) => {
                increase(&format!("{metric}_bucket{filters}"), seconds, self.offset)
            }
        };
        let raw = self.with_bare(raw);
        let aggregate = match self.kind {
            Kind::Min | Kind::FirstSeen(_) => "min",
            Kind::Max | Kind::LastSeen(_) => "max",
            _ => "sum",
        };
        let mut by = self.by.join(", ");
        match self.kind {
            Kind::Quantile(percent, _) => {
                by.push_str(if by.is_empty() { "le" } else { ", le" });
                let quantile = f64::from(percent) / 100.0;
                write!(f, "histogram_quantile({quantile}, {aggregate} by ({by}) ({raw}))")
            }
            _ => write!(f, "{aggregate} by ({by}) ({raw})"),
        }
    }
}

/// The increases of counters. A proxy writes a series from its first event on, and `increase` ignores the first value that
/// it sees. So a series that did not exist when the range began counts with its whole value. This holds only if the node's
/// proxy was scraped at that time, or started later: Prometheus itself may be younger than the series.
fn increase(series: &str, seconds: u64, offset: u64) -> String {
    const STARTED: &str = "process_start_time_seconds{job=\"weft-proxy\"}";
    let (begin, offset) = (seconds + offset, Offset(offset));
    format!(
        "((last_over_time({series}[{seconds}s]{offset}) unless {series} offset {begin}s) and on (node) \
         ({STARTED} offset {begin}s or {STARTED}{offset} > time() - {begin})) or increase({series}[{seconds}s]{offset})"
    )
}

impl Query {
    /// Adds the label [`BARE`], which names the pod if nothing owns it.
    fn with_bare(&self, mut raw: String) -> String {
        for (bare, pod, owners) in
            [(BARE, "pod", OWNER_LABELS.as_slice()), (BARE_DST, "dst_pod", OWNER_LABELS_DST.as_slice())]
        {
            if self.by.contains(&bare) {
                let count = owners.len();
                let owners: Vec<_> = owners.iter().map(|label| format!("{label:?}")).collect();
                let owners = owners.join(", ");
                raw = format!(
                    "label_replace(label_join({raw}, \"weft_owners\", \"|\", {owners}, {pod:?}), {bare:?}, \"$1\", \
                     \"weft_owners\", \"[|]{{{count}}}(.+)\")"
                );
            }
        }
        raw
    }
}

struct Filters<'a>(&'a [Filter]);

impl Display for Filters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        for (at, filter) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            match filter {
                Filter::Is(label, value) => write!(f, "{label}={}", Quoted(value))?,
                Filter::In(label, values) => {
                    let values: Vec<_> = values.iter().map(|value| regex::escape(value)).collect();
                    write!(f, "{label}=~{}", Quoted(&values.join("|")))?;
                }
            }
        }
        f.write_char('}')
    }
}

/// A string of PromQL. Its escapes are Go's.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

struct Offset(u64);

impl Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            seconds => write!(f, " offset {seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_a_window_and_new_ones_count_in_full() {
        let query = Query::new("response_total", Kind::Increase(60))
            .filter(Filter::is("direction", "inbound"))
            .by(["namespace", "classification"]);
        let series = r#"response_total{direction="inbound"}"#;
        assert_eq!(
            query.to_string(),
            format!(
                "sum by (namespace, classification) (((last_over_time({series}[60s]) unless {series} offset 60s) and on (node) \
                 (process_start_time_seconds{{job=\"weft-proxy\"}} offset 60s or \
                 process_start_time_seconds{{job=\"weft-proxy\"}} > time() - 60)) or increase({series}[60s]))"
            )
        );
    }

    #[test]
    fn quantiles_keep_the_buckets_bound_and_an_earlier_time_is_that_of_all_parts() {
        let text = Query::new("response_latency_ms", Kind::Quantile(99, 60)).before(30).to_string();
        assert!(text.starts_with("histogram_quantile(0.99, sum by (le) (((last_over_time("), "{text}");
        assert!(text.contains("response_latency_ms_bucket{}[60s] offset 30s) unless response_latency_ms_bucket{} offset 90s)"), "{text}");
        assert!(text.contains(" offset 30s > time() - 90"), "{text}");
        assert!(text.ends_with("increase(response_latency_ms_bucket{}[60s] offset 30s)))"), "{text}");
    }

    #[test]
    fn no_value_can_leave_its_string_or_its_pattern() {
        let query = Query::new("up", Kind::Sum)
            .filter(Filter::is("pod", "a\"} or up{b=\"\\\n\u{1}"))
            .filter(Filter::In("node", vec!["a.b".into(), ".*".into(), "\"|\"".into()]));
        assert_eq!(
            query.to_string(),
            "sum by () (up{pod=\"a\\\"} or up{b=\\\"\\\\\\n\\u0001\", node=~\"a\\\\.b|\\\\.\\\\*|\\\"\\\\|\\\"\"})"
        );
    }

    #[test]
    fn a_pod_without_an_owner_stands_for_itself() {
        let text = Query::new("m", Kind::Sum).by(["namespace", "deployment", BARE]).to_string();
        assert!(
            text.starts_with("sum by (namespace, deployment, weft_bare) (label_replace(label_join(m{}, "),
            "{text}"
        );
        assert!(
            text.ends_with("\"pod\"), \"weft_bare\", \"$1\", \"weft_owners\", \"[|]{7}(.+)\"))"),
            "{text}"
        );
    }
}
