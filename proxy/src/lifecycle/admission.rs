//! Holds the start of a pod's containers until the pod is served, for a short time.
//!
//! The container runtime asks before it starts them. The time is limited, and the runtime may ask for one pod after the
//! other, so a pod that is not meshed must not wait: the control plane names those too.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::{
    WorkloadSupervisor,
    admission_metrics::Outcome,
    announcements::{Meshed, Word},
};
use crate::{
    capture::Netns,
    nri::{PodEvents, Sandbox},
};

/// How long the control plane may take to name a pod that the runtime knows already. Both learn of it from the API
/// server, and the runtime has set up its network since.
const WORD_LIMIT: Duration = Duration::from_millis(500);

impl PodEvents for WorkloadSupervisor {
    fn synchronize(&self, sandboxes: Vec<Sandbox>) {
        info!(pods = sandboxes.len(), "the container runtime has named its pods");
        self.sandboxes().replace(sandboxes);
    }

    async fn run(&self, sandbox: Sandbox, limit: Duration) -> Result<(), String> {
        let started = Instant::now();
        self.sandboxes().insert(sandbox.clone());
        let outcome = self.hold(&sandbox, started + limit).await;
        self.components.admissions.count(outcome, started.elapsed());
        let (pod, took) = (format!("{}/{}", sandbox.namespace, sandbox.name), started.elapsed());
        match outcome {
            Outcome::Served => info!(pod, ?took, "the pod is served before its containers start"),
            Outcome::Unmeshed | Outcome::Refused => debug!(pod, ?took, "a pod starts that is not served"),
            Outcome::Unknown => warn!(
                pod,
                ?took,
                "the control plane has not said whether the pod is meshed; it starts, and may send in plaintext until it is served"
            ),
            Outcome::Late => warn!(
                pod,
                ?took,
                "the pod starts before it is served, and may send in plaintext until then (its fail mode is open)"
            ),
            Outcome::Held => {
                warn!(pod, ?took, "the pod may not start before it is served (its fail mode is closed)");
                return Err(format!(
                    "weft-proxy does not serve the pod yet, and its fail mode is closed: {}",
                    self.reason(&sandbox.uid)
                ));
            }
        }
        Ok(())
    }

    fn stopped(&self, id: &str) {
        self.sandboxes().stop(id);
    }

    fn removed(&self, id: &str) {
        self.sandboxes().remove(id);
    }
}

impl WorkloadSupervisor {
    async fn hold(&self, sandbox: &Sandbox, deadline: Instant) -> Outcome {
        let Some(path) = sandbox.netns.clone() else { return Outcome::Unmeshed };
        // A pod that asks to be meshed by itself will be named.
        let word_deadline = if sandbox.asks() { deadline } else { deadline.min(Instant::now() + WORD_LIMIT) };
        // Subscribed before looking, so that no change is missed.
        let mut words = self.announcements.changes();
        let mut states = self.components.reporter.changes();
        let opened = tokio::task::spawn_blocking(move || Netns::open(&path)).await;
        let cookie = opened.ok().and_then(Result::ok).map(|netns| netns.cookie());
        loop {
            words.borrow_and_update();
            states.borrow_and_update();
            let limit = match self.announcements.about(&sandbox.uid) {
                Word::Unmeshed => return Outcome::Unmeshed,
                Word::Meshed(Meshed { host_network: true, .. }) => return Outcome::Refused,
                Word::Meshed(pod) => {
                    // Not by its state: the pod may have been served in an earlier sandbox.
                    if cookie.is_some_and(|cookie| self.serving.lock().contains_key(&cookie)) {
                        return Outcome::Served;
                    }
                    if self.is_refused(&pod, &sandbox.uid) {
                        return Outcome::Refused;
                    }
                    if Instant::now() >= deadline {
                        return if pod.fail_open { Outcome::Late } else { Outcome::Held };
                    }
                    deadline
                }
                word => match unnamed(sandbox, word == Word::Awaited, Instant::now() >= word_deadline) {
                    Some(outcome) => return outcome,
                    None => word_deadline,
                },
            };
            tokio::select! {
                _ = words.changed() => {}
                _ = states.changed() => {}
                () = sleep_until(limit) => {}
            }
        }
    }

    /// Whether the pod can never be served, which has been reported.
    fn is_refused(&self, pod: &Meshed, uid: &str) -> bool {
        let status = self.components.reporter.status(&pod.key);
        status.is_some_and(|status| status.uid == uid && status.state == weft_api::node::State::Refused)
    }

    /// Why a pod is not served.
    fn reason(&self, uid: &str) -> String {
        let Word::Meshed(pod) = self.announcements.about(uid) else {
            return "the control plane has not named it; is weft-control ready? The kubelet tries again"
                .to_owned();
        };
        let status = self.components.reporter.status(&pod.key);
        let reason = status.map(|status| status.reason).unwrap_or_default();
        if reason.is_empty() { "it is being enrolled; the kubelet tries again".to_owned() } else { reason }
    }

    fn sandboxes(&self) -> &super::Sandboxes {
        &self.components.sandboxes
    }
}

/// What becomes of a pod that the control plane has not named: its own annotations decide. `None`: it waits.
fn unnamed(sandbox: &Sandbox, will_be_named: bool, is_late: bool) -> Option<Outcome> {
    let fails_closed = sandbox.asks() && sandbox.fail_mode.as_deref() == Some("closed");
    if sandbox.inject.as_deref() == Some("disabled") {
        Some(Outcome::Unmeshed)
    } else if !is_late && (will_be_named || fails_closed) {
        None
    } else if fails_closed {
        Some(Outcome::Held)
    } else {
        Some(Outcome::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(inject: Option<&str>, fail_mode: Option<&str>) -> Sandbox {
        Sandbox {
            id: "id".to_owned(),
            uid: "1".to_owned(),
            namespace: "demo".to_owned(),
            name: "web".to_owned(),
            netns: None,
            ips: Vec::new(),
            inject: inject.map(str::to_owned),
            fail_mode: fail_mode.map(str::to_owned),
            runtime_handler: String::new(),
            pid: 0,
        }
    }

    #[test]
    fn a_pod_that_asks_for_the_mesh_and_fails_closed_does_not_start_without_word() {
        let asks = pod(Some("enabled"), Some("closed"));
        for will_be_named in [true, false] {
            assert_eq!(unnamed(&asks, will_be_named, false), None);
            assert_eq!(unnamed(&asks, will_be_named, true), Some(Outcome::Held));
        }
    }

    #[test]
    fn other_pods_start_without_word_after_their_time() {
        for other in [pod(None, None), pod(Some("enabled"), None), pod(None, Some("closed"))] {
            assert_eq!(unnamed(&other, true, false), None, "{other:?}");
            assert_eq!(unnamed(&other, true, true), Some(Outcome::Unknown), "{other:?}");
            assert_eq!(unnamed(&other, false, false), Some(Outcome::Unknown), "{other:?}");
        }
    }

    #[test]
    fn a_pod_that_stays_out_of_the_mesh_starts_at_once() {
        let out = pod(Some("disabled"), Some("closed"));
        assert_eq!(unnamed(&out, true, false), Some(Outcome::Unmeshed));
    }
}
