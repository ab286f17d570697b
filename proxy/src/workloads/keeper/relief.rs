//! How do pods go from one proxy to the next?

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tracing::error;

use super::{CERTIFICATE_WAIT, Keeper, LEAVING};
use crate::capture::Listeners;

/// By then the pods of a snapshot have joined, but for those that wait for a certificate.
const ENROLLED: Duration = Duration::from_secs(1);

impl Keeper {
    /// The listeners of all pods, for a successor; no pod joins here any more.
    pub fn hand_over(&self) -> HashMap<u64, Arc<Listeners>> {
        self.gate.close();
        self.serving.lock().clone()
    }

    /// The successor has not taken over: pods join here again.
    pub fn serve_on(&self) {
        let pods: Vec<u64> = self.serving.lock().keys().copied().collect();
        if let Err(error) = self.shared.capture.attach_again(&pods) {
            error!(%error, "a successor's programs may still be attached: connections take the proxy, but none goes directly any more");
        }
        self.shared.passes.serve_on();
        self.gate.open();
    }

    /// Waits until all listeners that a predecessor handed over are served; false: not within `limit`.
    pub async fn taken_over(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while !self.inherited.lock().is_empty() || self.enrolling.load(Ordering::Acquire) > 0 {
            if Instant::now() >= end {
                return false;
            }
            sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// The whole node is known: what is in the kernel's books and is not claimed soon was left by a predecessor.
    pub(in crate::workloads) fn snapshot_seen(self: &Arc<Self>) {
        self.states.repeat();
        self.informed.store(true, Ordering::Release);
        let keeper = self.clone();
        tokio::spawn(async move {
            sleep(ENROLLED).await;
            keeper.shared.passes.review(false).await;
            sleep(CERTIFICATE_WAIT + LEAVING).await;
            keeper.shared.passes.review(true).await;
            let is_known = |netns: u64| keeper.claimed.lock().contains_key(&netns);
            // A successor knows of pods that were never told here.
            let forget = || {
                // While there is a predecessor, they are its.
                if keeper.shared.passes.begun() {
                    keeper.shared.capture.drop_other_versions();
                }
                keeper.inherited.lock().retain(|netns, _| is_known(*netns));
                keeper.shared.capture.forget_others(is_known);
            };
            keeper.gate.pass_when_open(forget).await;
        });
    }
}
