//! Which requests failed within a window: what the proxies' tables of failing paths have gained since.
//!
//! The tables count since a pod was first served. They are read again and again, and what they said before is kept.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;

use super::admin::{Proxies, WorstRow};
use crate::{clock, cluster::Cluster};

const INTERVAL: Duration = Duration::from_secs(10);
/// The longest window.
const LONGEST: f64 = 6.0 * 3600.0;
/// What is younger is kept completely, in seconds; of what is older, one count in a twentieth of its age.
const PRECISE: f64 = 120.0;
const STEPS: f64 = 20.0;
/// Methods and paths of all pods that are kept. The tables of the proxies are bounded too.
const MAX_PATHS: usize = 20_000;

/// The counts of all pods, and what they were.
#[derive(Debug, Default)]
pub(crate) struct WorstHistory {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    began: Option<f64>,
    /// By namespace and pod, then by method and path.
    pods: BTreeMap<(String, String), HashMap<(String, String), Counts>>,
}

/// The counts of one method and path at several times, the oldest first. A count that did not change has no entry.
#[derive(Debug, Default)]
struct Counts(VecDeque<Count>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Count {
    at: f64,
    requests: u64,
    failures: u64,
}

impl WorstHistory {
    /// Reads the tables until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, proxies: Arc<Proxies>, cluster: Arc<Cluster>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let tables = proxies.worst(&cluster.view()).await;
            self.add(clock::now(), tables.values().flatten());
        }
    }

    /// Of one pod, what was counted within the last `seconds`. `rows` are what its table says now. Before it is known for
    /// so long, the counts are those since the pod was first served.
    pub(crate) fn within(&self, seconds: f64, rows: &[WorstRow]) -> Vec<WorstRow> {
        self.since(clock::now() - seconds, rows)
    }

    fn since(&self, begin: f64, rows: &[WorstRow]) -> Vec<WorstRow> {
        let state = self.state.read();
        if state.began.is_none_or(|began| began > begin + INTERVAL.as_secs_f64()) {
            return rows.to_vec();
        }
        let gained = |row: &WorstRow| {
            let pod = state.pods.get(&(row.namespace.clone(), row.pod.clone()));
            let counts = pod.and_then(|paths| paths.get(&(row.method.clone(), row.path.clone())));
            let before =
                counts.and_then(|counts| counts.at(begin)).filter(|before| before.requests <= row.requests);
            let (requests, failures) = before.map_or((0, 0), |before| (before.requests, before.failures));
            let failures = row.failures.saturating_sub(failures);
            (failures > 0).then(|| WorstRow { requests: row.requests - requests, failures, ..row.clone() })
        };
        rows.iter().filter_map(gained).collect()
    }

    fn add<'a>(&self, at: f64, rows: impl Iterator<Item = &'a WorstRow>) {
        let mut state = self.state.write();
        state.began.get_or_insert(at);
        let mut known: usize = state.pods.values().map(HashMap::len).sum();
        let mut pods = BTreeMap::new();
        std::mem::swap(&mut pods, &mut state.pods);
        for row in rows {
            let paths = pods.entry((row.namespace.clone(), row.pod.clone())).or_insert_with(HashMap::new);
            let key = (row.method.clone(), row.path.clone());
            if !paths.contains_key(&key) {
                if known >= MAX_PATHS {
                    continue;
                }
                known += 1;
            }
            let counts: &mut Counts = paths.entry(key).or_default();
            counts.add(Count { at, requests: row.requests, failures: row.failures });
        }
        // A pod that failed in no window any more, or that is gone, needs no history.
        pods.retain(|_, paths| {
            paths.retain(|_, counts| counts.0.back().is_some_and(|last| at - last.at <= LONGEST));
            !paths.is_empty()
        });
        state.pods = pods;
    }
}

impl Counts {
    /// The count at a time: that of the last change before. `None` if nothing had failed then.
    fn at(&self, time: f64) -> Option<Count> {
        self.0.iter().rev().find(|count| count.at <= time).copied()
    }

    fn add(&mut self, count: Count) {
        let is_same = |last: &Count| (last.requests, last.failures) == (count.requests, count.failures);
        if self.0.back().is_some_and(is_same) {
            return;
        }
        self.0.push_back(count);
        self.thin(count.at);
    }

    fn thin(&mut self, now: f64) {
        // The last count before the longest window stays.
        while self.0.get(1).is_some_and(|second| now - second.at > LONGEST) {
            self.0.pop_front();
        }
        let mut last = f64::NEG_INFINITY;
        self.0.retain(|count| {
            let age = now - count.at;
            let stays = age <= PRECISE || count.at - last >= age / STEPS;
            if stays {
                last = count.at;
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(requests: u64, failures: u64) -> WorstRow {
        let text = |text: &str| text.to_owned();
        let (method, path) = (text("GET"), text("/buy"));
        WorstRow { namespace: text("shop"), pod: text("web-1"), method, path, requests, failures }
    }

    fn counts(rows: &[WorstRow]) -> Vec<(u64, u64)> {
        rows.iter().map(|row| (row.requests, row.failures)).collect()
    }

    #[test]
    fn only_what_failed_within_the_window_is_counted() {
        let history = WorstHistory::default();
        for (at, requests, failures) in [(0.0, 100, 50), (10.0, 110, 50), (20.0, 120, 55), (30.0, 130, 55)] {
            history.add(at, [row(requests, failures)].iter());
        }
        let now = [row(140, 57)];
        assert_eq!(counts(&history.since(10.0, &now)), [(30, 7)]);
        assert_eq!(counts(&history.since(25.0, &now)), [(20, 2)]);
        assert_eq!(counts(&history.since(30.0, &[row(135, 55)])), [], "it did not fail any more");
    }

    #[test]
    fn a_path_that_failed_for_the_first_time_has_all_its_failures_within_the_window() {
        let history = WorstHistory::default();
        history.add(0.0, [].iter());
        history.add(60.0, [row(5, 1)].iter());
        assert_eq!(counts(&history.since(10.0, &[row(8, 2)])), [(8, 2)]);
    }

    #[test]
    fn until_the_window_is_known_counts_are_those_since_the_pod_was_served() {
        let history = WorstHistory::default();
        assert_eq!(counts(&history.since(0.0, &[row(8, 2)])), [(8, 2)]);
        history.add(100.0, [row(8, 2)].iter());
        assert_eq!(counts(&history.since(40.0, &[row(9, 2)])), [(9, 2)]);
    }

    #[test]
    fn a_pod_that_is_served_anew_counts_from_zero() {
        let history = WorstHistory::default();
        history.add(0.0, [row(100, 50)].iter());
        assert_eq!(counts(&history.since(10.0, &[row(4, 1)])), [(4, 1)]);
    }

    #[test]
    fn the_history_of_a_path_that_always_fails_stays_small() {
        let mut all = Counts::default();
        for step in 0..10_000_u32 {
            let count = u64::from(step);
            all.add(Count { at: f64::from(step) * 10.0, requests: count, failures: count });
        }
        assert!(all.0.len() < 150, "{}", all.0.len());
        for seconds in [60.0, 600.0, 3600.0, LONGEST] {
            let begin = 99_990.0 - seconds;
            let found = all.at(begin).unwrap().at;
            assert!(begin - found <= seconds / 10.0 + 10.0, "{seconds} s: {found} for {begin}");
        }
    }
}
