//! Decides when a pod's processes may start: when its proxy serves it, so that no connection is older than the mesh.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod as Manifest;

use crate::desired::Desired;
use crate::layout::PodKey;

/// A pod that its proxy does not serve by then is started all the same: its fail mode decides what it can do.
const START_TIMEOUT: Duration = Duration::from_secs(3);
/// Until a proxy hears of a pod's successor, it answers about the predecessor.
const SUCCESSOR_DELAY: Duration = Duration::from_millis(300);

/// How far the start of a pod's processes is.
#[derive(Debug)]
pub(crate) enum ProcessStart {
    /// They wait for the proxy.
    Waiting {
        /// Not before.
        from: Instant,
        /// At the latest. None: nobody has waited yet.
        by: Option<Instant>,
    },
    /// They need not wait.
    Now,
    /// They were started.
    Done,
}

impl ProcessStart {
    /// For a new pod, or one that takes the place of another.
    pub(super) fn of(key: &PodKey, manifest: &Manifest, desired: &Desired, is_successor: bool) -> Self {
        let spec = manifest.spec.as_ref();
        let host_network = spec.and_then(|spec| spec.host_network).unwrap_or(false);
        let idle =
            spec.is_none_or(|spec| spec.containers.iter().all(|container| container.command.is_none()));
        if idle || host_network || !desired.is_meshed(key, manifest) {
            return Self::Now;
        }
        let from = Instant::now() + if is_successor { SUCCESSOR_DELAY } else { Duration::ZERO };
        Self::Waiting { from, by: None }
    }

    /// Whether the processes have to wait; `served` are the pods that their proxies have decided about.
    pub(super) fn must_wait(&mut self, key: &PodKey, served: &BTreeSet<String>) -> bool {
        let now = Instant::now();
        match self {
            Self::Now | Self::Done => false,
            Self::Waiting { from, by } => {
                let by = *by.get_or_insert(now + START_TIMEOUT);
                now < *from || (now < by && !served.contains(&key.to_string()))
            }
        }
    }
}
