//! Feeds the index from the manifests.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::{index::Index, manifests::ManifestSource, metrics::Metrics};

/// A source with the index that it feeds.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) source: ManifestSource,
    pub(crate) index: Arc<Index>,
    pub(crate) metrics: Metrics,
}

impl Feed {
    /// Passes one batch of events on.
    pub(crate) async fn pass_on(mut self) -> Self {
        // Reading files and building the index keep a thread busy.
        let result = spawn_blocking(move || {
            let events = self.source.read();
            self.index.apply(events);
            self.metrics.set_manifest_errors(self.source.problem_count());
            self
        });
        // A blocking task ends early only if it panics.
        result.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
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
}
