//! Turns changes of manifest folders into events.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use super::{
    loader::Loader,
    report::Reporter,
    watch::{Watch, WatchError},
};
use crate::model::{Event, Key, Kind, Object};

type Objects = BTreeMap<Key, Arc<Object>>;

/// Folders of manifests as a source of events.
#[derive(Debug)]
pub struct ManifestSource {
    loader: Loader,
    watch: Watch,
    reporter: Reporter,
    /// The objects that the events so far have described; `None` before the first list.
    sent: Option<Objects>,
}

/// Why folders cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("--manifests {folder}: {error}", folder = folder.display())]
    Folder { folder: PathBuf, error: io::Error },
    #[error(transparent)]
    Watch(#[from] WatchError),
}

impl ManifestSource {
    /// Starts to watch folders. Nothing is read yet, so that no change is missed between reading and watching.
    pub fn new(folders: Vec<PathBuf>) -> Result<Self, SourceError> {
        for folder in &folders {
            std::fs::read_dir(folder)
                .map_err(|error| SourceError::Folder { folder: folder.clone(), error })?;
        }
        let watch = Watch::new(&folders)?;
        Ok(Self { loader: Loader::new(folders), watch, reporter: Reporter::default(), sent: None })
    }

    /// Waits until the folders may have changed.
    pub async fn changed(&mut self) {
        self.watch.changed().await;
    }

    /// Reads the folders and returns a batch of events: at first a list of all objects, later what changed. Mistakes
    /// are logged; an object with a mistake stays as it was. Blocks the thread.
    pub fn read(&mut self) -> Vec<Event> {
        let loaded = self.loader.reload();
        let objects: Objects =
            loaded.documents.iter().map(|document| (document.key.clone(), document.object.clone())).collect();
        self.reporter.report(loaded);
        let (before, is_first) = match self.sent.take() {
            Some(before) => (before, false),
            None => (Objects::new(), true),
        };
        let mut events = difference(&before, &objects);
        if is_first {
            events.extend(Kind::ALL.map(Event::Synced));
        }
        self.sent = Some(objects);
        events
    }

    /// The number of mistakes that the manifests contain at present.
    pub fn problem_count(&self) -> usize {
        self.reporter.problem_count()
    }
}

/// The events that lead from `before` to `now`.
fn difference(before: &Objects, now: &Objects) -> Vec<Event> {
    let deleted = before.keys().filter(|key| !now.contains_key(key)).cloned().map(Event::Deleted);
    // The loader keeps the `Arc` of an object that did not change.
    let is_new = |(key, object): &(&Key, &Arc<Object>)| {
        before.get(*key).is_none_or(|before| !Arc::ptr_eq(before, object))
    };
    let trimmed = |object: &Object| Event::Applied(Arc::new(object.clone().trimmed()));
    let applied = now.iter().filter(is_new).map(|(_, object)| trimmed(object));
    deleted.chain(applied).collect()
}
