//! Notices when a pod's network namespace goes away.

use std::{
    sync::Weak,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{capture::Netns, workload::Workload};

/// How often to check whether the pod is still there.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long the connections of a pod that has gone away may take to end by themselves.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Ends the connections of a pod some time after it has gone away: nobody will read their answers, and their sockets
/// would keep the namespace alive.
pub(super) async fn end_with_pod(workload: Weak<Workload>) {
    while workload.upgrade().is_some_and(|workload| workload.netns.is_current()) {
        sleep(CHECK_INTERVAL).await;
    }
    sleep(GRACE_PERIOD).await;
    if let Some(workload) = workload.upgrade() {
        workload.terminated.cancel();
    }
}

/// Waits for `limit`, or less if the namespace goes away; true if it has.
pub(super) async fn terminated_within(netns: &Netns, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        if !netns.is_current() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        sleep(POLL_INTERVAL).await;
    }
}
