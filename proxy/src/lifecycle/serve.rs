//! Serves an enrolled pod: follows its configuration until it changes place or goes away.

use std::time::Duration;

use tokio::{
    sync::watch as channel,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::{
    Spec, WorkloadSupervisor, earlier, enroll::EnrolledPod, supervisor::RETRY_INTERVAL,
    terminated::CHECK_INTERVAL,
};

/// Every so many checks the applications' listeners are listed again, whatever the kernel has reported.
const RESCAN_EVERY: u32 = 15;
const RESCAN_PAUSE: Duration = Duration::from_millis(100);

/// An enrolled pod, and what the kernel knows of it.
struct ServedPod {
    pod: EnrolledPod,
    spec: Spec,
    /// The kernel has accepted the configuration in `spec`.
    kernel_is_current: bool,
    /// Applications may have listeners that are older than the enrollment: they are listed at each check.
    may_have_preexisting: bool,
    checks: u32,
}

/// Why a pod is no longer served as it was.
enum Ended {
    /// The process ends, or hands its connections over.
    Process,
    /// The pod has changed place, goes away, or needs new listeners.
    Enrollment,
}

impl WorkloadSupervisor {
    /// Returns when the pod has been unenrolled, or is to be enrolled anew.
    pub(super) async fn serve(
        &self,
        mut pod: EnrolledPod,
        spec: Spec,
        specs: &mut channel::Receiver<Option<Spec>>,
    ) {
        let metrics = &self.components.earlier;
        let earlier =
            pod.earlier.take().map(|earlier| earlier::close(spec.key.clone(), earlier, metrics.clone()));
        let _earlier = earlier.map(|closing| AbortOnDropHandle::new(tokio::spawn(closing)));

        let mut served =
            ServedPod { pod, spec, kernel_is_current: true, may_have_preexisting: true, checks: 0 };
        let ended = self.follow(&mut served, specs).await;
        let ServedPod { pod, spec, .. } = served;
        let next = specs.borrow().clone();
        match (ended, next) {
            (Ended::Process, _) => self.freeze(pod).await,
            (Ended::Enrollment, Some(next))
                if next.same_netns(&spec, self.components.finder.by_name())
                    && pod.workload.netns.is_current() =>
            {
                self.reenroll(pod, &next).await;
            }
            (Ended::Enrollment, _) => self.unenroll(pod, &spec).await,
        }
    }

    /// Keeps the pod as `specs` says, until that needs another enrollment.
    async fn follow(&self, served: &mut ServedPod, specs: &mut channel::Receiver<Option<Spec>>) -> Ended {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let draining = self.components.data_path.draining.clone();
        loop {
            tokio::select! {
                () = draining.cancelled() => return Ended::Process,
                changed = specs.changed() => {
                    // The sender is gone: the process ends.
                    if changed.is_err() {
                        return Ended::Process;
                    }
                    let wanted = specs.borrow_and_update().clone();
                    if !self.apply(served, wanted) {
                        return Ended::Enrollment;
                    }
                }
                () = served.pod.workload.rescan.notified() => {
                    // Clients can cause this as often as they like.
                    sleep(RESCAN_PAUSE).await;
                    served.rescan_listeners();
                }
                () = served.pod.workload.listener_lost.notified() => {
                    // A process with CAP_NET_ADMIN in the pod can destroy sockets there (sock_diag), again and again.
                    warn!(workload = %served.spec.key, "a listener of the proxy in the pod was destroyed; opening new ones");
                    sleep(RETRY_INTERVAL).await;
                    return Ended::Enrollment;
                }
                _ = checks.tick() => if !served.check() {
                    return Ended::Enrollment;
                },
            }
        }
    }

    /// Applies a changed configuration in place. Returns false if the pod must be enrolled anew, or unenrolled.
    fn apply(&self, served: &mut ServedPod, wanted: Option<Spec>) -> bool {
        // The proxy may have learnt the addresses before the control plane did.
        let Some(wanted) = wanted.map(|wanted| wanted.or_addresses(&served.spec.kernel.ips)) else {
            return false;
        };
        // Repeated, by a control plane that was away.
        if wanted == served.spec {
            return true;
        }
        if !wanted.same_pod(&served.spec) {
            return false;
        }
        served.spec = wanted;
        let workload = &served.pod.workload;
        workload.config.send_replace(served.spec.config.clone().into());
        tokio::task::block_in_place(|| self.components.bypass.config_changed(workload));
        served.update_kernel();
        if served.kernel_is_current {
            info!(workload = %served.spec.key, "workload reconfigured");
        }
        true
    }
}

impl ServedPod {
    /// What is looked at every [`CHECK_INTERVAL`]. Returns false if the pod's network namespace has gone away.
    fn check(&mut self) -> bool {
        let workload = &self.pod.workload;
        for (kind, lines) in workload.log_limiter.suppressed() {
            warn!(workload = %self.spec.key, kind, lines, "more lines of the same kind were not logged");
        }
        if !workload.netns.is_current() {
            info!(workload = %self.spec.key, "the pod's network namespace has gone away");
            return false;
        }
        workload.sockets.trim();
        if !self.kernel_is_current {
            self.update_kernel();
        }
        self.checks = self.checks.wrapping_add(1);
        if self.may_have_preexisting
            || self.checks.is_multiple_of(RESCAN_EVERY)
            || self.pod.enrolled.has_many_listeners()
        {
            self.rescan_listeners();
        }
        true
    }

    fn update_kernel(&mut self) {
        let updated = self.pod.enrolled.change(&self.spec.kernel);
        if let Err(error) = &updated {
            error!(workload = %self.spec.key, %error, "the kernel has not accepted all of the workload's configuration; trying again");
        }
        self.kernel_is_current = updated.is_ok();
    }

    fn rescan_listeners(&mut self) {
        let found = tokio::task::block_in_place(|| self.pod.enrolled.find_preexisting_listeners());
        self.may_have_preexisting = found.unwrap_or_else(|error| {
            warn!(workload = %self.spec.key, %error, "failed to list the applications' listeners");
            true
        });
    }
}
