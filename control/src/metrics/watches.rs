//! The metrics of the watches of the Kubernetes API: whether what they know is still true.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::model::Kind;

#[derive(Clone, Debug)]
pub(super) struct Watches {
    connected: Family<Watched, Gauge>,
    silence: Family<Watched, Gauge>,
    lists: Family<Watched, Counter>,
    failures: Family<Watched, Counter>,
    heard: Arc<Mutex<BTreeMap<Kind, Instant>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watched {
    kind: String,
}

/// The metrics of one watch.
#[derive(Clone, Debug)]
pub(crate) struct WatchMetrics {
    kind: Kind,
    watches: Watches,
}

impl Watches {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            connected: super::new(registry, "watch_connected", "1 if the watch of this kind is connected"),
            silence: super::new(
                registry,
                "watch_silence_seconds",
                "Time since the API server was last heard about this kind",
            ),
            lists: super::new(registry, "watch_lists", "Complete lists that were read, by kind"),
            failures: super::new(
                registry,
                "watch_failures",
                "Lists and watches that failed, by kind; a watch that ends as planned does not count",
            ),
            heard: Arc::default(),
        }
    }

    pub(super) fn of(&self, kind: Kind) -> WatchMetrics {
        let watch = WatchMetrics { kind, watches: self.clone() };
        self.connected.get_or_create(&watch.labels()).set(0);
        watch.heard();
        watch
    }

    /// Brings the times up to date, before the metrics are read.
    pub(super) fn update_silence(&self) {
        for (kind, heard) in &*self.heard.lock() {
            let seconds = i64::try_from(heard.elapsed().as_secs()).unwrap_or(i64::MAX);
            self.silence.get_or_create(&Watched { kind: kind.to_string() }).set(seconds);
        }
    }
}

impl WatchMetrics {
    pub(crate) fn heard(&self) {
        self.watches.heard.lock().insert(self.kind, Instant::now());
    }

    pub(crate) fn connected(&self) {
        self.heard();
        self.watches.connected.get_or_create(&self.labels()).set(1);
    }

    pub(crate) fn failed(&self) {
        self.watches.connected.get_or_create(&self.labels()).set(0);
        self.watches.failures.get_or_create(&self.labels()).inc();
    }

    pub(crate) fn listed(&self) {
        self.watches.lists.get_or_create(&self.labels()).inc();
    }

    fn labels(&self) -> Watched {
        Watched { kind: self.kind.to_string() }
    }
}
