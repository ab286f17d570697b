//! The dashboard and Prometheus of `weft-vm run`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use weft_vm::viz::{Context, Prometheus, Server};
use weft_vm::{Cluster, Result};

/// More often than on Kubernetes, so that something can be seen after a few seconds.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(2);
/// What ended is restarted at most this often.
const RESTART_INTERVAL: Duration = Duration::from_secs(5);

/// What runs of the two. A cluster runs without them, too.
pub(crate) struct Viz {
    prometheus: Option<Prometheus>,
    server: Option<Server>,
    problems: Vec<String>,
    /// Problems that were shown already.
    said: BTreeSet<String>,
    started: Instant,
}

impl Viz {
    /// Starts both without waiting for them.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let mut viz = Self {
            prometheus: None,
            server: None,
            problems: Vec::new(),
            said: BTreeSet::new(),
            started: Instant::now(),
        };
        viz.start_missing(cluster);
        viz
    }

    /// Restarts what has ended. The lines are for the screen.
    pub(crate) fn follow(&mut self, cluster: &Cluster) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(ended) = self.prometheus.take_if(|prometheus| prometheus.ended()) {
            lines.push(format!("Prometheus ended; its log: {}", ended.log().display()));
        }
        if let Some(ended) = self.server.take_if(|server| server.ended()) {
            lines.push(format!("weft-viz ended; its log: {}", ended.log().display()));
        }
        let is_missing = self.prometheus.is_none() || self.server.is_none();
        if is_missing && self.started.elapsed() > RESTART_INTERVAL {
            self.start_missing(cluster);
        }
        lines.extend(self.new_problems());
        lines
    }

    /// Each is said once.
    fn new_problems(&mut self) -> Vec<String> {
        let found = std::mem::take(&mut self.problems);
        let new: Vec<String> = found.into_iter().filter(|problem| !self.said.contains(problem)).collect();
        self.said.extend(new.iter().cloned());
        new
    }

    fn start_missing(&mut self, cluster: &Cluster) {
        self.started = Instant::now();
        if self.prometheus.is_none() {
            match Prometheus::start(cluster, SCRAPE_INTERVAL) {
                Ok(prometheus) => {
                    self.prometheus = Some(prometheus);
                    // It may be at another port.
                    self.server = None;
                }
                Err(error) => {
                    self.problems.push(format!("the dashboard shows the last minute only: {error}"))
                }
            }
        }
        if self.server.is_none()
            && let Err(error) = self.start_server(cluster)
        {
            self.problems.push(format!("there is no dashboard: {error}"));
        }
    }

    fn start_server(&mut self, cluster: &Cluster) -> Result<()> {
        let url = self.prometheus.as_ref().map(Prometheus::url);
        let figures = url.as_deref().map(|url| (url, SCRAPE_INTERVAL));
        let server = self.server.insert(Server::start(cluster, figures)?);
        let context = Context::of(cluster, server, self.prometheus.as_ref())?;
        context.write(cluster.layout())
    }

    /// Where to look.
    pub(crate) fn header(&self) -> String {
        let mut text = String::new();
        if let Some(server) = &self.server {
            text += &format!("  dashboard {}\n", server.url());
        }
        if let Some(prometheus) = &self.prometheus {
            text += &format!("  figures  {}   (Prometheus)\n", prometheus.url());
        }
        text
    }
}
