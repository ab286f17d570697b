//! Earlier enrollments of a pod, while connections of theirs are open.

use std::sync::{Arc, Weak};

use tokio::sync::watch as channel;

use crate::workload::{Workload, WorkloadConfig};

/// The workloads as which a pod was served before.
#[derive(Default)]
pub(super) struct PreviousInstances(Vec<Weak<Workload>>);

impl PreviousInstances {
    /// Whether the pod was served before.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// `workload` will be an earlier one some day.
    pub(super) fn add(&mut self, workload: &Arc<Workload>) {
        self.0.retain(|instance| instance.strong_count() > 0);
        self.0.push(Arc::downgrade(workload));
    }

    /// From now on all earlier ones have the configuration of `workload`.
    pub(super) fn follow(&self, workload: &Workload) {
        for instance in &self.0 {
            tokio::spawn(follow(instance.clone(), workload.config_changes()));
        }
    }
}

async fn follow(instance: Weak<Workload>, mut config: channel::Receiver<Arc<WorkloadConfig>>) {
    while let Some(instance) = instance.upgrade() {
        let current = config.borrow_and_update().clone();
        instance.config.send_replace(current);
        drop(instance);
        if config.changed().await.is_err() {
            return;
        }
    }
}
