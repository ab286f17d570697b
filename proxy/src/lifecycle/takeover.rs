//! What happens to the pods when one proxy takes over from another.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tracing::error;

use super::{WorkloadSupervisor, enroll::CERTIFICATE_WAIT};
use crate::{capture::Listeners, workload::PEERS_NOTICE};

/// How long the pods of a snapshot take to be enrolled, but for those that wait for a certificate.
const ENROLL_TIME: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

impl WorkloadSupervisor {
    /// The listeners of all pods, for a successor. From now on no pod is enrolled here.
    pub fn hand_over(&self) -> HashMap<u64, Arc<Listeners>> {
        self.lock.close();
        self.serving.lock().clone()
    }

    /// The successor has not taken over: pods are enrolled here again.
    pub fn resume(&self) {
        let pods: Vec<u64> = self.serving.lock().keys().copied().collect();
        if let Err(error) = self.components.capture.attach_again(&pods) {
            error!(%error, "a successor's programs may still be attached: connections go through the proxy, none goes directly");
        }
        self.components.bypass.resume();
        self.lock.open();
    }

    /// Waits until all listeners that a predecessor handed over are served here; false if that takes longer than `limit`.
    pub async fn taken_over(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while !self.inherited.lock().is_empty() || self.enrolling.load(Ordering::Acquire) > 0 {
            if Instant::now() >= end {
                return false;
            }
            sleep(POLL_INTERVAL).await;
        }
        true
    }

    /// The control plane has named all workloads of the node. What the kernel's maps hold beside them, after a while, was
    /// left by an earlier proxy and is removed.
    pub(super) fn snapshot_seen(self: &Arc<Self>) {
        self.components.reporter.repeat();
        self.synced.store(true, Ordering::Release);
        let supervisor = self.clone();
        tokio::spawn(async move {
            let components = &supervisor.components;
            sleep(ENROLL_TIME).await;
            components.bypass.reevaluate(false).await;
            sleep(CERTIFICATE_WAIT + PEERS_NOTICE).await;
            components.bypass.reevaluate(true).await;
            let is_known = |netns: u64| supervisor.owners.lock().contains_key(&netns);
            let remove_leftovers = || {
                // While there is a predecessor, they are its own.
                if components.bypass.is_granting() {
                    components.capture.drop_other_versions();
                }
                supervisor.inherited.lock().retain(|netns, _| is_known(*netns));
                components.capture.forget_others(is_known);
            };
            // Not while a successor takes over, which may know of more pods.
            supervisor.lock.run_when_open(remove_leftovers).await;
        });
    }
}
