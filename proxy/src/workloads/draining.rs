//! What must connections still be told whose proxy accepts no more?
//!
//! The policies of now hold for them, too, and they end with their pods. All else (who joins, the kernel's books, what
//! is reported) is the successor's business.

use std::{collections::HashMap, sync::Arc};

use tonic::transport::Channel;
use tracing::warn;
use weft_api::node::{self as api, update::Kind};

use super::{
    Key, Registry, Spec, WatchConfig, Workload,
    gone::end_with_pod,
    watch::{FIRST_RETRY, LONGEST_RETRY, updates},
};

/// The workloads that were served when the draining began.
pub struct Draining {
    config: WatchConfig,
    control: Channel,
    workloads: HashMap<Key, Arc<Workload>>,
}

impl Draining {
    /// Of those that are served now. To be called when nobody keeps them any more.
    pub fn new(config: WatchConfig, control: Channel, registry: &Registry) -> Self {
        let workloads = registry.all().into_iter().map(|workload| (workload.key.clone(), workload)).collect();
        Draining { config, control, workloads }
    }

    /// Follows until dropped. While the control plane is away, the last known terms hold.
    pub async fn run(self) {
        for workload in self.workloads.values() {
            tokio::spawn(end_with_pod(Arc::downgrade(workload)));
        }
        let mut wait = FIRST_RETRY;
        loop {
            if let Err(status) = self.follow(&mut wait).await {
                warn!(code = ?status.code(), reason = status.message(), "no word of policies from the control plane; the last known ones hold for the connections that are left");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_RETRY);
        }
    }

    async fn follow(&self, wait: &mut std::time::Duration) -> Result<(), tonic::Status> {
        let mut updates = updates(&self.config, &self.control, true).await?;
        while let Some(update) = updates.message().await? {
            *wait = FIRST_RETRY;
            match update.kind {
                Some(Kind::Snapshot(snapshot)) => {
                    snapshot.workloads.into_iter().for_each(|workload| self.tell(workload));
                }
                Some(Kind::Upsert(workload)) => self.tell(workload),
                // That a pod is gone shows in its namespace.
                Some(Kind::Remove(_) | Kind::Splice(_)) | None => {}
            }
        }
        Ok(())
    }

    fn tell(&self, workload: api::Workload) {
        match Spec::try_from(workload) {
            // By name: a new pod of that name begins when the old one has ended.
            Ok(spec) => {
                if let Some(workload) = self.workloads.get(&spec.key) {
                    workload.terms.send_replace(Arc::new(spec.terms));
                }
            }
            Err(error) => warn!(%error, "a workload is left as it was"),
        }
    }
}
