//! For how long there are figures.

use std::collections::BTreeMap;

use super::Figures;
use crate::query::{Filter, Kind, Labels, Query, Sample, get};

/// Every proxy has it, also one without traffic.
const STARTED: &str = "process_start_time_seconds";

impl Figures {
    /// For how many seconds before `at` there are figures of a proxy; more than `seconds` if it is longer. `None` if there
    /// are none, or nobody answers.
    pub(crate) async fn known_seconds(&self, at: u64, seconds: u64, scrape_interval: f64) -> Option<f64> {
        let scrapes = (2.0 * scrape_interval).ceil() as u64;
        // What is known for longer than the window has a value before it.
        let range = seconds + Kind::seen_step(seconds) + scrapes;
        let known = self.known_within(at, range).await?;
        // A shorter range is looked at in shorter steps.
        let closer = known.max(0.0) as u64 + Kind::seen_step(range) + scrapes;
        if closer >= range / 2 {
            return Some(known);
        }
        Some(self.known_within(at, closer).await.map_or(known, |closer| closer.max(known)))
    }

    async fn known_within(&self, at: u64, range: u64) -> Option<f64> {
        let query = |kind| Query::new(STARTED, kind).filter(Filter::is("job", "weft-proxy")).by(["node"]);
        let (first, started) = (query(Kind::FirstSeen(range)), query(Kind::Max));
        let (first, started) =
            futures::try_join!(self.instant(&first, at), self.instant(&started, at)).ok()?;
        let started: BTreeMap<&str, f64> = match self {
            Self::Prometheus(_) => {
                started.iter().map(|sample| (node(&sample.labels), sample.value)).collect()
            }
            // What happened before weft-viz read a proxy for the first time is not counted.
            Self::Proxies(_) => BTreeMap::new(),
        };
        let known = |sample: &Sample| {
            let started = started.get(node(&sample.labels)).copied();
            at as f64 - beginning(sample.value, started, at.saturating_sub(range) as f64)
        };
        first.iter().map(known).max_by(f64::total_cmp)
    }
}

/// A proxy that started within the range counts from 0, so everything since its start is known. Of an older one, only
/// what happened since it was first seen.
fn beginning(first_seen: f64, started: Option<f64>, begin: f64) -> f64 {
    started.filter(|started| *started >= begin).map_or(first_seen, |started| started.min(first_seen))
}

fn node(labels: &Labels) -> &str {
    get(labels, "node")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_proxy_is_known_from_its_start_and_an_old_one_from_when_it_was_first_seen() {
        assert_eq!(beginning(950.0, Some(943.0), 400.0), 943.0);
        assert_eq!(beginning(950.0, Some(100.0), 400.0), 950.0);
        assert_eq!(beginning(950.0, None, 400.0), 950.0);
        // It was there before it was started again.
        assert_eq!(beginning(500.0, Some(980.0), 400.0), 500.0);
    }
}
