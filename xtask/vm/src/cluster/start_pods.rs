//! Starts the processes of pods as soon as they may.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::Cluster;
use super::process_start::ProcessStart;
use super::state::State;
use crate::daemon::Daemon;
use crate::error::Result;
use crate::http;

/// How often the proxies are asked.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long a proxy may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

impl Cluster {
    /// Starts the processes of all pods that have none yet. The state is not locked while this waits.
    pub(super) fn start_pods(&self) {
        let mut served = BTreeSet::new();
        loop {
            let proxies = {
                let mut state = self.state.lock();
                if !state.open {
                    return;
                }
                self.start_ready(&mut state, &served)
            };
            if proxies.is_empty() {
                return;
            }
            sleep(POLL_INTERVAL);
            served = proxies.into_iter().flat_map(|admin| workloads(admin).unwrap_or_default()).collect();
        }
    }

    /// Starts those that may; returns the proxies that the others wait for.
    fn start_ready(&self, state: &mut State, served: &BTreeSet<String>) -> BTreeSet<SocketAddr> {
        let mut admins = BTreeMap::new();
        for (daemon, processes) in &mut state.daemons {
            // A proxy that has ended is not waited for.
            if let (Daemon::Proxy(node), None, Ok(admin)) = (daemon, processes.ended(), processes.admin()) {
                admins.insert(node.clone(), admin);
            }
        }
        let mut waited_for = BTreeSet::new();
        for (key, pod) in &mut state.pods {
            match admins.get(&pod.facts.node) {
                Some(admin) if pod.start.must_wait(key, served) => {
                    waited_for.insert(*admin);
                }
                _ if matches!(pod.start, ProcessStart::Done) => {}
                _ => pod.problem = self.start_pod(pod, key).err().map(|error| error.to_string()),
            }
        }
        waited_for
    }
}

/// The pods that a proxy has decided about.
fn workloads(admin: SocketAddr) -> Result<Vec<String>> {
    let page: Value =
        serde_json::from_str(&http::get_within(admin, "/config", ANSWER_TIMEOUT)?.body).unwrap_or_default();
    let decided = |state: &Value| matches!(state["state"].as_str(), Some("SERVED" | "REFUSED"));
    let workloads = page["workloads"].as_object().into_iter().flatten();
    Ok(workloads.filter(|(_, state)| decided(state)).map(|(name, _)| name.clone()).collect())
}
