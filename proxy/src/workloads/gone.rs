//! What if a pod's namespace goes away?

use std::{
    sync::Weak,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::Workload;
use crate::capture::Netns;

/// How often a keeper looks whether its pod is still there.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// How long connections of a pod that is gone may take to end by themselves.
const GONE: Duration = Duration::from_secs(5);

/// Connections of a pod that is gone end, after a while, by force: nobody will read their answers any more, and
/// their sockets would keep the namespace alive.
pub(super) async fn end_with_pod(workload: Weak<Workload>) {
    while workload.upgrade().is_some_and(|workload| workload.netns.is_current()) {
        sleep(LOOK).await;
    }
    sleep(GONE).await;
    if let Some(workload) = workload.upgrade() {
        workload.ended.send_replace(true);
    }
}

/// Waits for `limit`, or less if the namespace goes away: true.
pub(super) async fn gone_within(netns: &Netns, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        if !netns.is_current() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
