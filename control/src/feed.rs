//! Feeds the index from a source.

use std::{collections::BTreeSet, sync::Arc};

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::{
    index::Index,
    kubernetes::KubernetesSource,
    manifests::ManifestSource,
    metrics::Metrics,
    model::{Event, Kind},
};

/// A source with the index that it feeds.
#[derive(Debug)]
pub(crate) struct Feed {
    source: Source,
    index: Arc<Index>,
    metrics: Metrics,
    /// Kinds of which no list has arrived yet.
    missing: BTreeSet<Kind>,
}

#[derive(Debug)]
pub(crate) enum Source {
    Manifests(ManifestSource),
    Kubernetes(KubernetesSource),
}

impl Feed {
    /// `kinds` are those that the source lists.
    pub(crate) fn new(source: Source, kinds: &[Kind], index: Arc<Index>, metrics: Metrics) -> Self {
        Self { source, index, metrics, missing: kinds.iter().copied().collect() }
    }

    /// Returns when the index holds the objects of every kind. Until then, `waits` is told what is missing.
    pub(crate) async fn first_sync(mut self, waits: impl Fn(String)) -> Self {
        loop {
            self = self.pass_on().await;
            if self.missing.is_empty() {
                return self;
            }
            let kinds: Vec<_> = self.missing.iter().map(Kind::to_string).collect();
            waits(kinds.join(", "));
            self.source.changed().await;
        }
    }

    /// Passes on all changes until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.source.changed() => {}
            }
            self = self.pass_on().await;
        }
    }

    /// Passes one batch of events on.
    async fn pass_on(mut self) -> Self {
        // Reading files and updating the index keep a thread busy.
        let result = spawn_blocking(move || {
            let events = self.source.read();
            for event in &events {
                if let Event::Synced(kind) = event {
                    self.missing.remove(kind);
                }
            }
            self.index.apply(events);
            if let Source::Manifests(source) = &self.source {
                self.metrics.set_manifest_errors(source.problem_count());
            }
            self
        });
        // A blocking task ends early only if it panics.
        result.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

impl Source {
    /// Waits for changes. Nothing is lost if the future is dropped.
    async fn changed(&mut self) {
        match self {
            Self::Manifests(source) => source.changed().await,
            Self::Kubernetes(source) => source.changed().await,
        }
    }

    /// The next batch of events; at the first call to a manifests source, all objects.
    fn read(&mut self) -> Vec<Event> {
        match self {
            Self::Manifests(source) => source.read(),
            Self::Kubernetes(source) => source.read(),
        }
    }
}
