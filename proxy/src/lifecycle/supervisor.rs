//! Supervises the pods of this node: one task per pod enrolls it, serves it, and unenrolls it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch as channel;
use tracing::error;
use weft_api::node::State;

use super::{
    Admissions, EarlierMetrics, NetnsFinder, Sandboxes, Spec, StatusReporter, announcements::Announcements,
    enrollment_lock::EnrollmentLock, previous::PreviousInstances,
};
use crate::{
    bypass::DirectConnections,
    capture::{Capture, Listeners},
    connection::DataPath,
    identity::Store,
    limits::{NodeLimiter, NodeRequests},
    workload::{Key, Registry},
};

/// Pause before a failed step is tried again.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The components that supervision needs.
pub struct Components {
    pub capture: Arc<Capture>,
    pub bypass: Arc<DirectConnections>,
    pub data_path: Arc<DataPath>,
    pub limiter: Arc<NodeLimiter>,
    pub requests: Arc<NodeRequests>,
    pub max_connections_per_workload: usize,
    pub registry: Arc<Registry>,
    pub reporter: Arc<StatusReporter>,
    pub store: Arc<Store>,
    pub finder: NetnsFinder,
    pub sandboxes: Arc<Sandboxes>,
    pub admissions: Arc<Admissions>,
    pub earlier: Arc<EarlierMetrics>,
}

/// The state that the supervising tasks of all pods share.
pub struct WorkloadSupervisor {
    pub(super) components: Components,
    /// A predecessor's listeners that are not served here yet, by netns cookie.
    pub(super) inherited: Mutex<HashMap<u64, Listeners>>,
    pub(super) serving: Mutex<HashMap<u64, Arc<Listeners>>>,
    /// The pod that each network namespace belongs to.
    pub(super) owners: Mutex<HashMap<u64, Key>>,
    /// The control plane has named all workloads of the node.
    pub(super) synced: AtomicBool,
    pub(super) announcements: Announcements,
    /// All pods that the control plane named at first are served, or cannot be.
    complete: AtomicBool,
    /// Pods that are being enrolled at this moment.
    pub(super) enrolling: AtomicUsize,
    pub(super) lock: EnrollmentLock,
}

impl WorkloadSupervisor {
    /// `inherited` are a predecessor's listeners by netns cookie.
    pub fn new(components: Components, inherited: HashMap<u64, Listeners>) -> Arc<Self> {
        Arc::new(Self {
            components,
            inherited: Mutex::new(inherited),
            serving: Mutex::default(),
            owners: Mutex::default(),
            synced: AtomicBool::new(false),
            announcements: Announcements::default(),
            complete: AtomicBool::new(false),
            enrolling: AtomicUsize::new(0),
            lock: EnrollmentLock::default(),
        })
    }

    /// # Errors
    /// What is still missing.
    pub fn ready(&self) -> Result<(), String> {
        if !self.synced.load(Ordering::Acquire) {
            Err("the control plane has not sent the list of workloads yet".to_owned())
        } else if !self.components.store.anchors_ready() {
            Err("there are no trust anchors".to_owned())
        } else if !self.complete.load(Ordering::Acquire) {
            self.enrolled()?;
            // Pods that join later make the proxy no less ready.
            self.complete.store(true, Ordering::Release);
            Ok(())
        } else {
            Ok(())
        }
    }

    /// Whether the control plane has named all pods of the node, and none of them is meshed.
    pub fn is_idle(&self) -> bool {
        self.synced.load(Ordering::Acquire)
            && self.announcements.all_meshed().is_empty()
            && self.serving.lock().is_empty()
    }

    /// Whether each pod is served, or is reported with the reason why it is not.
    fn enrolled(&self) -> Result<(), String> {
        let mut any_served = false;
        for (uid, pod) in self.announcements.all_meshed() {
            let status = self.components.reporter.status(&pod.key).filter(|status| status.uid == uid);
            match status {
                Some(status) if status.state == State::Served => any_served = true,
                Some(status) if status.state != State::Joining || !status.reason.is_empty() => {}
                _ => return Err(format!("workload {} is being enrolled", pod.key)),
            }
        }
        if any_served && !self.components.store.any_ready() {
            return Err("no workload has a certificate yet".to_owned());
        }
        Ok(())
    }

    /// Makes one pod what `specs` says, until the sender is dropped. `idle` is set while nothing is wanted and nothing is
    /// left to do.
    pub(super) async fn reconcile(
        self: Arc<Self>,
        mut specs: channel::Receiver<Option<Spec>>,
        idle: Arc<AtomicBool>,
    ) {
        let mut last = None;
        let mut previous = PreviousInstances::default();
        loop {
            // Before reading: whoever finds it set may rely on the last value having been seen.
            idle.store(false, Ordering::Release);
            let Some(spec) = specs.borrow_and_update().clone() else {
                if let Some(key) = last.take() {
                    self.release_netns(&key).await;
                    self.components.reporter.forget(&key);
                }
                previous = PreviousInstances::default();
                idle.store(true, Ordering::Release);
                // Another pod of this name may come at any moment.
                match specs.changed().await {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            };
            last = Some(spec.key.clone());
            let enrolled = tokio::select! {
                enrolled = self.enroll(&spec) => enrolled,
                changed = specs.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            match enrolled {
                Ok(pod) => {
                    // Open connections of earlier enrollments follow the configuration of this one.
                    if previous.any() {
                        previous.follow(&pod.workload);
                        tokio::task::block_in_place(|| {
                            self.components.bypass.config_changed(&pod.workload);
                        });
                    }
                    previous.add(&pod.workload);
                    let spec = spec.or_addresses(&pod.workload.ips);
                    self.serve(pod, spec, &mut specs).await;
                }
                Err(reason) => {
                    error!(workload = %spec.key, reason, "the workload cannot be served");
                    self.components.reporter.set(&spec.key, &spec.uid, State::Refused, &reason);
                    if specs.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
