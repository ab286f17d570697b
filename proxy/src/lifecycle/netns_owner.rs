//! Makes sure that each network namespace belongs to one pod.

use std::collections::HashMap;

use tokio::time::sleep;
use tracing::{debug, error, warn};
use weft_api::node::State;

use super::{
    Spec, WorkloadSupervisor,
    locate::{Found, Waiting},
    supervisor::RETRY_INTERVAL,
};
use crate::{capture::Netns, workload::Key};

pub(super) const HOST_NETWORK: &str = "the pod shares the node's network (hostNetwork): its connections cannot be distinguished from the node's own";

impl WorkloadSupervisor {
    /// The pod's network namespace, once it exists and no other pod owns it.
    ///
    /// # Errors
    /// Why the pod can never be served there.
    pub(super) async fn find_netns(&self, spec: &Spec) -> Result<Found, String> {
        let reporter = &self.components.reporter;
        reporter.set(&spec.key, &spec.uid, State::Joining, "");
        let on_wait = |Waiting { reason, is_failure }: &Waiting| {
            if *is_failure {
                warn!(workload = %spec.key, reason, "the pod's network namespace was not found; trying again");
            } else {
                debug!(workload = %spec.key, reason, "waiting for the pod's network namespace");
            }
            reporter.set(&spec.key, &spec.uid, State::Joining, reason);
        };
        let mut refused = String::new();
        loop {
            let found = self.components.finder.find(spec, on_wait).await?;
            let netns = &found.netns;
            if netns.cookie() == self.components.capture.host().cookie() {
                return Err(HOST_NETWORK.to_owned());
            }
            let Err(reason) = self.claim(netns, &spec.key) else { return Ok(found) };
            if refused != reason {
                error!(workload = %spec.key, reason, "the workload cannot be served");
                reporter.set(&spec.key, &spec.uid, State::Refused, &reason);
                refused = reason;
            }
            // The owner may be about to leave.
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// # Errors
    /// Another pod owns the namespace. Served as two workloads, each would have the other's configuration.
    fn claim(&self, netns: &Netns, key: &Key) -> Result<(), String> {
        let mut owners = self.owners.lock();
        let owner = owners.entry(netns.cookie()).or_insert_with(|| key.clone());
        if owner == key {
            return Ok(());
        }
        Err(format!("the network namespace {} belongs to {owner} already", netns.path().display()))
    }

    /// Removes a pod that is not wanted any more from the kernel's maps, where a predecessor or an earlier enrollment may
    /// have written it.
    pub(super) async fn release_netns(&self, key: &Key) {
        let owned_by = |owners: &HashMap<u64, Key>| -> Vec<u64> {
            owners.iter().filter(|(_, owner)| *owner == key).map(|(netns, _)| *netns).collect()
        };
        let owned = owned_by(&self.owners.lock());
        if owned.is_empty() {
            return;
        }
        let capture = &self.components.capture;
        self.lock.run_when_open(|| capture.forget_others(|known| !owned.contains(&known))).await;
        self.owners.lock().retain(|_, owner| owner != key);
    }
}
