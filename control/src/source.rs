//! How do the folders of manifests reach the index?

use std::{collections::BTreeSet, io, net::IpAddr, path::PathBuf, sync::Arc};

use tokio::{sync::watch, task::spawn_blocking};

use crate::{
    identity::Tokens,
    index::{Index, Mesh},
    manifests::{Ignored, Loaded, Loader, Problem, Watch, WatchError},
    metrics::Metrics,
};

/// Feeds the index from folders.
#[derive(Debug)]
pub(crate) struct ManifestSource {
    loader: Loader,
    watch: Watch,
    mesh: Arc<Mesh>,
    index: Arc<Index>,
    tokens: Arc<Tokens>,
    metrics: Metrics,
    reported: Reported,
}

/// Why folders cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// One is not there.
    #[error("--manifests {folder}: {error}", folder = folder.display())]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// They cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

/// What was logged already: each mistake is told once, and once more when it is mended.
#[derive(Debug, Default)]
struct Reported {
    problems: BTreeSet<Problem>,
    ignored: Vec<Ignored>,
    strangers: BTreeSet<IpAddr>,
    tokens: BTreeSet<String>,
}

impl ManifestSource {
    /// A source that has read its folders once.
    pub(crate) async fn start(
        folders: Vec<PathBuf>,
        mesh: Arc<Mesh>,
        index: Arc<Index>,
        tokens: Arc<Tokens>,
        metrics: Metrics,
    ) -> Result<Self, SourceError> {
        for folder in &folders {
            std::fs::read_dir(folder)
                .map_err(|error| SourceError::Folder { folder: folder.clone(), error })?;
        }
        // Watched before it is read: no change can fall between the two.
        let watch = Watch::new(&folders)?;
        let reported = Reported::default();
        let loader = Loader::new(folders);
        let mut source = Self { loader, watch, mesh, index, tokens, metrics, reported };
        source.load().await;
        Ok(source)
    }

    /// Keeps the index up to date until `stopping`.
    pub(crate) async fn follow(mut self, mut stopping: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = self.watch.changed() => {}
            }
            self.load().await;
        }
    }

    async fn load(&mut self) {
        let mut loader = std::mem::replace(&mut self.loader, Loader::new(Vec::new()));
        let index = self.index.clone();
        // Reading files and building the index keeps a thread busy.
        let worked = spawn_blocking(move || {
            let loaded = loader.reload();
            index.replace(&loaded.documents);
            (loader, loaded)
        });
        match worked.await {
            Ok((loader, loaded)) => {
                self.loader = loader;
                self.report(loaded);
            }
            // Only a panic ends a blocking task, and that is a mistake in this program.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn report(&mut self, loaded: Loaded) {
        let cluster = self.index.snapshot();
        for node in cluster.nodes() {
            match self.tokens.ensure(node) {
                Ok(()) => _ = self.reported.tokens.remove(node),
                Err(error) if self.reported.tokens.insert(node.to_owned()) => {
                    tracing::error!(node, "cannot make a token: {error}");
                }
                Err(_) => {}
            }
        }
        let problems: BTreeSet<Problem> = loaded.problems.into_iter().collect();
        for problem in problems.difference(&self.reported.problems) {
            tracing::error!("{problem}");
        }
        for mended in self.reported.problems.difference(&problems) {
            tracing::info!("{}: mended: {}", mended.source_at, mended.reason);
        }
        for ignored in loaded.ignored.iter().filter(|ignored| !self.reported.ignored.contains(ignored)) {
            tracing::info!("{}: {} is of no concern to weft; ignored", ignored.source, ignored.kind);
        }
        let strangers = cluster.strangers(&self.mesh);
        for stranger in strangers.difference(&self.reported.strangers) {
            tracing::warn!(
                "{stranger} is an address of the cluster that --cluster-networks does not contain"
            );
        }
        self.metrics.manifest_errors(problems.len());
        self.metrics.indexed(&cluster);
        self.reported.problems = problems;
        self.reported.ignored = loaded.ignored;
        self.reported.strangers = strangers;
    }
}
