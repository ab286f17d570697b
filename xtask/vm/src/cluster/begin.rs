//! When may a pod's processes start? When its node's proxy serves it, so that no connection is older than the mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod as Manifest;
use serde_json::Value;

use super::Cluster;
use super::state::{Pod, State};
use crate::daemon::Daemon;
use crate::desired::Desired;
use crate::error::Result;
use crate::http;
use crate::layout::PodKey;

/// A pod that its proxy does not serve by then is started all the same: its fail mode decides what it can do.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the proxies are asked.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// How long a proxy may take to answer.
const ANSWER: Duration = Duration::from_millis(500);
/// What a proxy says about a pod until it hears of its successor is about the predecessor.
const SUCCESSION: Duration = Duration::from_millis(300);

/// How far the start of a pod's processes is.
#[derive(Debug)]
pub(crate) enum Begin {
    /// They wait for the proxy.
    Waiting {
        /// Not before.
        from: Instant,
        /// At the latest; None: nobody waited yet.
        by: Option<Instant>,
    },
    /// They need not wait.
    Now,
    /// They were started.
    Done,
}

impl Begin {
    /// For a new pod, or one that takes the place of another.
    pub(super) fn of(key: &PodKey, manifest: &Manifest, desired: &Desired, successor: bool) -> Self {
        let spec = manifest.spec.as_ref();
        let host_network = spec.and_then(|spec| spec.host_network).unwrap_or(false);
        let idle =
            spec.is_none_or(|spec| spec.containers.iter().all(|container| container.command.is_none()));
        if idle || host_network || !desired.is_meshed(key, manifest) {
            return Self::Now;
        }
        let from = Instant::now() + if successor { SUCCESSION } else { Duration::ZERO };
        Self::Waiting { from, by: None }
    }
}

impl Cluster {
    /// Starts the processes of all pods that have none yet. The state is not locked while this waits.
    pub(super) fn begin_pods(&self) {
        let mut served = BTreeSet::new();
        loop {
            let proxies = {
                let mut state = self.state.lock();
                if !state.open {
                    return;
                }
                self.begin_ready(&mut state, &served)
            };
            if proxies.is_empty() {
                return;
            }
            sleep(ASK_EVERY);
            served = proxies.into_iter().flat_map(|admin| workloads(admin).unwrap_or_default()).collect();
        }
    }

    /// Starts those that may; returns the proxies that the others wait for.
    fn begin_ready(&self, state: &mut State, served: &BTreeSet<String>) -> BTreeSet<SocketAddr> {
        let mut admins = BTreeMap::new();
        for (daemon, processes) in &mut state.daemons {
            // Who is dead is not waited for.
            if let (Daemon::Proxy(node), None, Ok(admin)) = (daemon, processes.ended(), processes.admin()) {
                admins.insert(node.clone(), admin);
            }
        }
        let mut waited_for = BTreeSet::new();
        for (key, pod) in &mut state.pods {
            match admins.get(&pod.facts.node) {
                Some(admin) if pod.must_wait(key, served) => {
                    waited_for.insert(*admin);
                }
                _ if matches!(pod.begin, Begin::Done) => {}
                _ => pod.problem = self.start_pod(pod, key).err().map(|error| error.to_string()),
            }
        }
        waited_for
    }
}

impl Pod {
    fn must_wait(&mut self, key: &PodKey, served: &BTreeSet<String>) -> bool {
        let now = Instant::now();
        match &mut self.begin {
            Begin::Now | Begin::Done => false,
            Begin::Waiting { from, by } => {
                let by = *by.get_or_insert(now + PATIENCE);
                now < *from || (now < by && !served.contains(&key.to_string()))
            }
        }
    }
}

/// The pods that a proxy has decided about.
fn workloads(admin: SocketAddr) -> Result<Vec<String>> {
    let page: Value =
        serde_json::from_str(&http::get_within(admin, "/config", ANSWER)?.body).unwrap_or_default();
    let decided = |state: &Value| matches!(state["state"].as_str(), Some("SERVED" | "REFUSED"));
    let workloads = page["workloads"].as_object().into_iter().flatten();
    Ok(workloads.filter(|(_, state)| decided(state)).map(|(name, _)| name.clone()).collect())
}
