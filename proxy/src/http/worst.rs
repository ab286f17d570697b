//! The methods and paths whose requests fail, per workload: for people who look for a fault.
//!
//! Paths are chosen by clients, so they are no labels of metrics. This table is bounded, and read by the admin server.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{Method, Request, StatusCode};
use parking_lot::Mutex;
use serde::Serialize;

use super::record;
use crate::{
    metrics::Class,
    workload::{Key, Workload},
};

/// Paths kept per workload. When there is one more, the one with the fewest failures goes.
const MAX_PATHS: usize = 32;
/// A longer path is cut.
const MAX_PATH: usize = 128;

/// The failing paths of all workloads of this node.
#[derive(Default)]
pub struct Worst {
    workloads: Mutex<HashMap<Key, Arc<Paths>>>,
}

#[derive(Default)]
struct Paths {
    /// Nothing has failed yet: there is nothing to count.
    any: AtomicBool,
    counts: Mutex<HashMap<(Method, String), Counts>>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    /// Since the first failure.
    requests: u64,
    failures: u64,
}

/// One row of the table.
#[derive(Serialize)]
pub struct Row {
    pub namespace: String,
    pub pod: String,
    pub direction: &'static str,
    pub method: String,
    pub path: String,
    pub requests: u64,
    pub failures: u64,
}

impl Worst {
    /// All failing paths, those with the most failures first.
    pub fn rows(&self) -> Vec<Row> {
        let workloads: Vec<_> =
            self.workloads.lock().iter().map(|(key, paths)| (key.clone(), paths.clone())).collect();
        let mut rows: Vec<Row> = Vec::new();
        for (key, paths) in workloads {
            for ((method, path), counts) in paths.counts.lock().iter() {
                rows.push(Row {
                    namespace: key.namespace.clone(),
                    pod: key.name.clone(),
                    direction: "inbound",
                    method: method.to_string(),
                    path: path.clone(),
                    requests: counts.requests,
                    failures: counts.failures,
                });
            }
        }
        rows.sort_by(|a, b| b.failures.cmp(&a.failures).then_with(|| a.path.cmp(&b.path)));
        rows
    }

    /// Forgets a workload that is not served any more.
    pub fn forget(&self, key: &Key) {
        self.workloads.lock().remove(key);
    }

    fn of(&self, workload: &Workload) -> Arc<Paths> {
        self.workloads.lock().entry(workload.key.clone()).or_default().clone()
    }
}

impl Paths {
    fn count(&self, method: &Method, path: &str, success: bool) {
        if success && !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut counts = self.counts.lock();
        let key = (method.clone(), path.to_owned());
        match counts.get_mut(&key) {
            Some(known) => {
                known.requests += 1;
                known.failures += u64::from(!success);
            }
            None if success => {}
            None => {
                self.any.store(true, Ordering::Relaxed);
                if counts.len() >= MAX_PATHS
                    && let Some(least) =
                        counts.iter().min_by_key(|(_, counts)| counts.failures).map(|(key, _)| key.clone())
                {
                    counts.remove(&least);
                }
                counts.insert(key, Counts { requests: 1, failures: 1 });
            }
        }
    }
}

/// A request whose end is awaited.
pub(super) struct Seen {
    paths: Arc<Paths>,
    method: Method,
    path: String,
}

/// The table of one workload, for all requests on a connection.
pub(super) struct Table(Arc<Paths>);

impl Table {
    pub(super) fn new(worst: &Worst, workload: &Workload) -> Self {
        Self(worst.of(workload))
    }

    pub(super) fn see<B>(&self, request: &Request<B>) -> Seen {
        let path = request.uri().path();
        let end = path.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_PATH).last().unwrap_or(0);
        let path = if path.len() <= MAX_PATH { path } else { &path[..end] };
        Seen { paths: self.0.clone(), method: request.method().clone(), path: path.to_owned() }
    }
}

impl record::Observer for Seen {
    fn ended(&self, _: Option<StatusCode>, class: Class, _: &record::Request) {
        self.paths.count(&self.method, &self.path, class.success);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_paths_are_counted_from_their_first_failure() {
        let paths = Paths::default();
        paths.count(&Method::GET, "/ok", true);
        paths.count(&Method::GET, "/bad", false);
        paths.count(&Method::GET, "/bad", true);
        paths.count(&Method::GET, "/ok", true);
        let counts = paths.counts.lock();
        assert_eq!(counts.len(), 1);
        let bad = counts[&(Method::GET, "/bad".to_owned())];
        assert_eq!((bad.requests, bad.failures), (2, 1));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_worst() {
        let paths = Paths::default();
        (0..5).for_each(|_| paths.count(&Method::GET, "/worst", false));
        (0..1000).for_each(|n| paths.count(&Method::GET, &format!("/{n}"), false));
        let counts = paths.counts.lock();
        assert_eq!(counts.len(), MAX_PATHS);
        assert!(counts.contains_key(&(Method::GET, "/worst".to_owned())));
    }
}
