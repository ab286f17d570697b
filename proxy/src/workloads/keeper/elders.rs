//! What holds for connections that a pod had before it was enrolled anew?

use std::sync::{Arc, Weak};

use tokio::sync::watch as channel;

use super::super::{Terms, Workload};

/// What a pod was served as before, while there are connections of that.
#[derive(Default)]
pub(super) struct Elders(Vec<Weak<Workload>>);

impl Elders {
    /// Whether the pod was served before.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// The pod will not be served as `workload` for ever.
    pub(super) fn add(&mut self, workload: &Arc<Workload>) {
        self.0.retain(|elder| elder.strong_count() > 0);
        self.0.push(Arc::downgrade(workload));
    }

    /// It is served as `workload` now, whose terms hold for all that it was before.
    pub(super) fn follow(&self, workload: &Workload) {
        for elder in &self.0 {
            tokio::spawn(follow(elder.clone(), workload.terms_changed()));
        }
    }
}

async fn follow(elder: Weak<Workload>, mut terms: channel::Receiver<Arc<Terms>>) {
    while let Some(elder) = elder.upgrade() {
        let now = terms.borrow_and_update().clone();
        elder.terms.send_replace(now);
        drop(elder);
        if terms.changed().await.is_err() {
            return;
        }
    }
}
