//! Follows the cluster for other programs: runs a source into an index, without the rest of the control plane.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    feed::{Feed, Source},
    index::{Index, Served},
    kubernetes::KubernetesSource,
    manifests::{ManifestSource, SourceError},
    metrics::Metrics,
    model::Kind,
};

/// Where the objects come from.
pub enum FollowedSource {
    /// Folders of manifests; documents of a later one are merged onto those of an earlier one.
    Manifests(Vec<PathBuf>),
    Kubernetes(kube::Client),
}

/// An index that a source keeps up to date until this is dropped.
#[derive(Debug)]
pub struct Follower {
    index: Arc<Index>,
    missing: Arc<Mutex<Option<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Follower {
    /// Starts to read objects of these kinds. A source of manifests always reads all.
    pub fn start(
        source: FollowedSource,
        kinds: &[Kind],
        stop: CancellationToken,
    ) -> Result<Self, SourceError> {
        let metrics = Metrics::new();
        let (source, kinds) = match source {
            FollowedSource::Manifests(folders) => {
                (Source::Manifests(ManifestSource::new(folders)?), Kind::ALL.as_slice())
            }
            FollowedSource::Kubernetes(client) => {
                (Source::Kubernetes(KubernetesSource::start(&client, kinds, &metrics)), kinds)
            }
        };
        let index = Arc::new(Index::new(Served::new()));
        let feed = Feed::new(source, kinds, index.clone(), metrics);
        let missing = Arc::new(Mutex::new(Some("all objects".to_owned())));
        let told = missing.clone();
        let task = tokio::spawn(async move {
            let waits = told.clone();
            let feed = feed.first_sync(move |kinds| *waits.lock() = Some(kinds)).await;
            *told.lock() = None;
            feed.run(stop).await;
        });
        Ok(Self { index, missing, _task: AbortOnDropHandle::new(task) })
    }

    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// The kinds of which no list has arrived yet; `None` once the index holds all objects.
    pub fn missing(&self) -> Option<String> {
        self.missing.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_index_of_manifests_is_kept_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let text = format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: demo, name: {name}}}\n\
                 spec: {{nodeName: a, containers: []}}\n"
            );
            std::fs::write(dir.path().join(format!("{name}.yaml")), text).unwrap();
        };
        write("one");
        let source = FollowedSource::Manifests(vec![dir.path().to_owned()]);
        let follower = Follower::start(source, &[], CancellationToken::new()).unwrap();
        let mut changes = follower.index().subscribe();
        changes.wait_for(|cluster| cluster.pods().len() == 1).await.unwrap();
        while follower.missing().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        write("two");
        changes.wait_for(|cluster| cluster.pods().len() == 2).await.unwrap();
        let names: Vec<_> =
            follower.index().objects(Kind::Pod).iter().map(|pod| pod.key().to_string()).collect();
        assert_eq!(names, ["Pod demo/one", "Pod demo/two"]);
    }
}
