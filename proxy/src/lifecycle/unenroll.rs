//! Ends the service of a pod: for good, until it is enrolled anew, or because the process ends.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tracing::{info, warn};
use weft_api::node::State;

use super::{
    Spec, WorkloadSupervisor,
    enroll::EnrolledPod,
    terminated::{end_with_pod, terminated_within},
};
use crate::workload::PEERS_NOTICE;

/// How long connections that were redirected a moment ago may take to reach the listeners.
const LAST_ARRIVALS: Duration = Duration::from_millis(500);

impl WorkloadSupervisor {
    /// The pod leaves the mesh: first its own connections go directly, then, when peers know, those to it.
    pub(super) async fn unenroll(&self, pod: EnrolledPod, spec: &Spec) {
        let EnrolledPod { workload, mut enrolled, acceptors, .. } = pod;
        let cookie = workload.netns.cookie();
        // Before anybody hears of it.
        workload.leaving.store(true, Ordering::Relaxed);
        self.components.reporter.set(&spec.key, &spec.uid, State::Leaving, "");
        self.components.registry.remove(&workload);
        tokio::task::block_in_place(|| self.components.bypass.workload_removed(&workload));
        let result = self.lock.run(|| enrolled.release_outbound()).unwrap_or(Ok(()));
        if !terminated_within(&workload.netns, PEERS_NOTICE).await {
            let released = self.lock.run_when_open(|| enrolled.release_inbound()).await;
            if let Err(error) = result.and(released) {
                warn!(workload = %spec.key, %error, "failed to tell the kernel that the workload leaves");
            }
            terminated_within(&workload.netns, LAST_ARRIVALS).await;
        }
        tokio::spawn(end_with_pod(Arc::downgrade(&workload)));
        acceptors.stop().await;
        self.components.data_path.http.forget(&workload);
        self.serving.lock().remove(&cookie);
        self.owners.lock().remove(&cookie);
        match self.lock.run_when_open(|| enrolled.forget()).await {
            Ok(()) => info!(workload = %spec.key, "workload unenrolled"),
            Err(error) => {
                warn!(workload = %spec.key, %error, "the kernel's maps still hold the workload");
            }
        }
    }

    /// The pod will be served with another address or identity: what was captured stays captured.
    pub(super) async fn reenroll(&self, pod: EnrolledPod, next: &Spec) {
        let EnrolledPod { workload, enrolled, acceptors, .. } = pod;
        self.components.registry.remove(&workload);
        tokio::task::block_in_place(|| self.components.bypass.workload_removed(&workload));
        tokio::spawn(end_with_pod(Arc::downgrade(&workload)));
        acceptors.stop().await;
        self.components.data_path.http.forget(&workload);
        self.serving.lock().remove(&workload.netns.cookie());
        match enrolled.retire(&next.kernel.ips) {
            Ok(()) => info!(workload = %next.key, "workload is being enrolled anew"),
            Err(error) => {
                warn!(workload = %next.key, %error, "the kernel's maps still hold old addresses of the workload");
            }
        }
    }

    /// Stops accepting for good, but leaves the kernel's maps alone: they belong to a successor, or to the fail mode.
    pub(super) async fn freeze(&self, pod: EnrolledPod) {
        pod.acceptors.stop().await;
        self.serving.lock().remove(&pod.workload.netns.cookie());
        std::future::pending().await
    }
}
