//! Applies policy changes to the connections of a proxy that drains.
//!
//! Today's policies hold for them too, and they end with their pods. Everything else (enrollment, the kernel's maps,
//! reports) is up to the successor.

use std::{collections::HashMap, sync::Arc};

use tracing::warn;
use weft_api::node::{self as api, update::Kind};

use super::{
    Spec, WatchConfig,
    node_api::{retries, updates},
    terminated::end_with_pod,
};
use crate::{
    control::Client,
    identity::CurrentIssuer,
    net::Backoff,
    workload::{Key, Registry, Workload},
};

/// The workloads that were served when the draining began.
pub struct Draining {
    config: WatchConfig,
    control: Client,
    issuer: CurrentIssuer,
    workloads: HashMap<Key, Arc<Workload>>,
}

impl Draining {
    /// For the workloads that are served now. To be called when nobody supervises them any more.
    pub fn new(config: WatchConfig, control: Client, issuer: CurrentIssuer, registry: &Registry) -> Self {
        let workloads = registry.all().into_iter().map(|workload| (workload.key.clone(), workload)).collect();
        Draining { config, control, issuer, workloads }
    }

    /// Follows until dropped. While the control plane is away, the last known configuration holds.
    pub async fn run(self) {
        for workload in self.workloads.values() {
            tokio::spawn(end_with_pod(Arc::downgrade(workload)));
        }
        let mut backoff = retries();
        loop {
            if let Err(status) = self.follow(&mut backoff).await {
                warn!(code = ?status.code(), reason = status.message(), "the control plane does not send policies; the last known ones hold for the open connections");
            }
            backoff.pause().await;
        }
    }

    async fn follow(&self, backoff: &mut Backoff) -> Result<(), tonic::Status> {
        let mut updates = updates(&self.config, &self.control, true).await?;
        while let Some(update) = updates.message().await? {
            backoff.reset();
            match update.kind {
                Some(Kind::Snapshot(snapshot)) => {
                    if let Some(issuer) = snapshot.issuer {
                        self.issuer.set(issuer.certificate);
                    }
                    snapshot.workloads.into_iter().for_each(|workload| self.apply(workload));
                }
                Some(Kind::Upsert(workload)) => self.apply(workload),
                Some(Kind::Issuer(issuer)) => self.issuer.set(issuer.certificate),
                // The end of a pod shows in its network namespace.
                Some(Kind::Remove(_) | Kind::Unmeshed(_) | Kind::Splice(_)) | None => {}
            }
        }
        Ok(())
    }

    fn apply(&self, workload: api::Workload) {
        match Spec::try_from(workload) {
            // By name: a new pod of that name starts when the old one has ended.
            Ok(spec) => {
                if let Some(workload) = self.workloads.get(&spec.key) {
                    workload.config.send_replace(Arc::new(spec.config));
                }
            }
            Err(error) => warn!(%error, "ignoring an update of a workload"),
        }
    }
}
