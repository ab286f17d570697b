//! Sums calls up by source, destination, method and path.

use std::collections::HashMap;

use weft_api::viz::{TapEnd, TapEvent, TapEventKind};

use crate::viz::{access::printable, tap::Requests};

/// Rows beyond so many replace the one that was quiet for longest.
const MOST: usize = 1000;

/// What a request that no route matches has instead of one.
const NO_ROUTE: &str = "[DEFAULT]";

/// Which calls are one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summing {
    /// Those of all sources.
    pub(super) hide_sources: bool,
    /// Those of a route, whatever their methods and paths.
    pub(super) routes: bool,
}

/// What the calls of a row have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) source: String,
    pub(super) destination: String,
    /// Empty if calls are summed up by route.
    pub(super) method: String,
    /// The path, or the route.
    pub(super) path: String,
}

/// Calls with the same key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sums {
    pub(super) count: u64,
    pub(super) failures: u64,
    /// The shortest, in milliseconds.
    pub(super) best: f64,
    pub(super) worst: f64,
    pub(super) last: f64,
    /// Grows with each call: tells which row was quiet for longest.
    seen: u64,
}

impl Sums {
    pub(super) fn success_rate(&self) -> f64 {
        if self.count == 0 { 1.0 } else { 1.0 - self.failures as f64 / self.count as f64 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    by: Summing,
    requests: Requests,
    rows: HashMap<Key, Sums>,
    total: u64,
}

impl Calls {
    pub(super) fn new(by: Summing) -> Self {
        Self { by, ..Self::default() }
    }

    pub(super) fn add(&mut self, event: &TapEvent) {
        let request = self.requests.of(event);
        let TapEventKind::End { duration_ms, grpc_status, reset, .. } = &event.event else { return };
        let Some(request) = request else { return };
        let failed = reset.is_some()
            || grpc_status.as_ref().is_some_and(|status| status != "OK")
            || request.status.is_none_or(|status| status >= 500);
        let source = if self.by.hide_sources { String::new() } else { name(&request.source) };
        let (method, path) = match self.by.routes {
            true => (String::new(), printable(request.route.as_deref().unwrap_or(NO_ROUTE))),
            false => (printable(&request.method), printable(&request.path)),
        };
        let key = Key { source, destination: name(&request.destination), method, path };
        self.count(key, *duration_ms, failed);
    }

    fn count(&mut self, key: Key, ms: f64, failed: bool) {
        self.total += 1;
        if self.rows.len() >= MOST && !self.rows.contains_key(&key) {
            let quiet = self.rows.iter().min_by_key(|(_, sums)| sums.seen).map(|(key, _)| key.clone());
            if let Some(quiet) = quiet {
                self.rows.remove(&quiet);
            }
        }
        let sums = self.rows.entry(key).or_insert(Sums {
            count: 0,
            failures: 0,
            best: ms,
            worst: ms,
            last: ms,
            seen: 0,
        });
        sums.count += 1;
        sums.failures += u64::from(failed);
        sums.best = sums.best.min(ms);
        sums.worst = sums.worst.max(ms);
        sums.last = ms;
        sums.seen = self.total;
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.total = 0;
    }

    /// How many calls were counted.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn rows(&self) -> Vec<(Key, Sums)> {
        self.rows.iter().map(|(key, sums)| (key.clone(), *sums)).collect()
    }
}

/// The pod, else the workload, else the address without its port.
fn name(end: &TapEnd) -> String {
    let name = match (&end.pod, &end.resource) {
        (Some(pod), _) => pod.as_str(),
        (None, Some(resource)) => resource.name.as_str(),
        (None, None) => end.address.rsplit_once(':').map_or(end.address.as_str(), |(ip, _)| ip),
    };
    printable(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viz::tap::tests::events;

    #[test]
    fn a_call_counts_when_it_ends() {
        let mut calls = Calls::new(Summing::default());
        let events = events();
        for event in &events[..2] {
            calls.add(event);
        }
        assert!(calls.rows().is_empty());
        calls.add(&events[2]);
        let rows = calls.rows();
        assert_eq!((rows[0].0.source.as_str(), rows[0].0.destination.as_str()), ("web-1", "voting-1"));
        assert_eq!(
            (rows[0].1.count, rows[0].1.failures, rows[0].1.last),
            (1, 1, 1.25),
            "UNKNOWN is a failure"
        );
    }

    #[test]
    fn the_row_that_was_quiet_for_longest_makes_room() {
        let mut calls = Calls::new(Summing::default());
        let key = |n: usize| Key {
            source: String::new(),
            destination: String::new(),
            method: "GET".to_owned(),
            path: format!("/{n}"),
        };
        for n in 0..=MOST {
            calls.count(key(n), n as f64, false);
            calls.count(key(0), 1.0, false);
        }
        let rows = calls.rows();
        assert_eq!(rows.len(), MOST);
        assert!(rows.iter().any(|(key, _)| key.path == "/0"));
        assert!(!rows.iter().any(|(key, _)| key.path == "/1"));
    }

    #[test]
    fn hidden_sources_are_one_row() {
        let mut calls = Calls::new(Summing { hide_sources: true, routes: false });
        for event in events() {
            calls.add(&event);
        }
        assert_eq!(calls.rows()[0].0.source, "");
    }

    #[test]
    fn calls_of_a_route_are_one_row_whatever_their_paths() {
        let mut calls = Calls::new(Summing { hide_sources: false, routes: true });
        for (id, name, to) in
            [("a", None, "/list"), ("b", Some("vote"), "/vote/1"), ("c", Some("vote"), "/vote/2")]
        {
            for mut event in events() {
                event.id = id.to_owned();
                if let TapEventKind::Request { path, route, .. } = &mut event.event {
                    *path = to.to_owned();
                    *route = name.map(str::to_owned);
                }
                calls.add(&event);
            }
        }
        let mut rows: Vec<_> =
            calls.rows().into_iter().map(|(key, sums)| (key.path, key.method, sums.count)).collect();
        rows.sort();
        assert_eq!(rows, [("[DEFAULT]".to_owned(), String::new(), 1), ("vote".to_owned(), String::new(), 2)]);
    }
}
