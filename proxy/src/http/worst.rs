//! The methods and paths whose requests fail, per workload: for people who look for a fault.
//!
//! Paths are chosen by clients, so they are no labels of metrics. This table is bounded, and read by the admin server.

use std::{collections::HashMap, sync::Arc};

use http::{Method, Request};
use parking_lot::Mutex;
use serde::Serialize;

use super::record;
use crate::workload::{Key, Workload};

/// Methods and paths kept per workload. When there is no room, the one with the fewest failures makes way for one that
/// fails.
const MAX_PATHS: usize = 64;
/// A longer path is cut.
const MAX_PATH: usize = 128;

/// The failing paths of all workloads of this node.
#[derive(Default)]
pub struct Worst {
    workloads: Mutex<HashMap<Key, Arc<Paths>>>,
}

#[derive(Default)]
struct Paths(Mutex<HashMap<String, Vec<(Method, Counts)>>>);

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Counts {
    failures: u64,
    requests: u64,
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
            let paths = paths.0.lock();
            let all = paths.iter().flat_map(|(path, methods)| methods.iter().map(move |one| (path, one)));
            rows.extend(all.filter(|(_, (_, counts))| counts.failures > 0).map(
                |(path, (method, counts))| Row {
                    namespace: key.namespace.clone(),
                    pod: key.name.clone(),
                    direction: "inbound",
                    method: method.to_string(),
                    path: path.clone(),
                    requests: counts.requests,
                    failures: counts.failures,
                },
            ));
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
        let mut paths = self.0.lock();
        let failed = u64::from(!success);
        if let Some((_, counts)) =
            paths.get_mut(path).and_then(|methods| methods.iter_mut().find(|(known, _)| known == method))
        {
            counts.requests += 1;
            counts.failures += failed;
            return;
        }
        if paths.values().map(Vec::len).sum::<usize>() >= MAX_PATHS {
            // Clients can ask for any number of paths that succeed.
            if success {
                return;
            }
            let least =
                paths.iter().min_by_key(|(_, methods)| methods.iter().map(|(_, counts)| *counts).max());
            if let Some(least) = least.map(|(path, _)| path.clone()) {
                paths.remove(&least);
            }
        }
        let counts = Counts { requests: 1, failures: failed };
        paths.entry(path.to_owned()).or_default().push((method.clone(), counts));
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
    fn ended(&mut self, end: &record::End) {
        self.paths.count(&self.method, &self.path, end.class.success);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_method_and_path() {
        let paths = Paths::default();
        for (method, path, success) in [
            (Method::GET, "/a", true),
            (Method::GET, "/a", false),
            (Method::PUT, "/a", true),
            (Method::GET, "/b", true),
        ] {
            paths.count(&method, path, success);
        }
        let counts = paths.0.lock();
        let (get, put) = (&counts["/a"][0].1, &counts["/a"][1].1);
        assert_eq!((get.requests, get.failures, put.requests, put.failures), (2, 1, 1, 0));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_worst() {
        let paths = Paths::default();
        (0..1000).for_each(|n| paths.count(&Method::GET, &format!("/good/{n}"), true));
        (0..5).for_each(|_| paths.count(&Method::GET, "/worst", false));
        (0..1000).for_each(|n| paths.count(&Method::GET, &format!("/bad/{n}"), false));
        let counts = paths.0.lock();
        assert_eq!(counts.len(), MAX_PATHS);
        assert!(counts.contains_key("/worst"));
    }
}
