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
use crate::capture::Enrolled;

/// Every so many checks the applications' listeners are listed again, whatever the kernel has reported.
const RESCAN_EVERY: u32 = 15;
const RESCAN_PAUSE: Duration = Duration::from_millis(100);

impl WorkloadSupervisor {
    /// Returns when the pod has been unenrolled, or is to be enrolled anew.
    pub(super) async fn serve(
        &self,
        mut pod: EnrolledPod,
        mut spec: Spec,
        specs: &mut channel::Receiver<Option<Spec>>,
    ) {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0u32;
        let mut rescan = true;
        let mut kernel_knows = true;
        let draining = self.components.data_path.draining.clone();
        let metrics = &self.components.earlier;
        let earlier =
            pod.earlier.take().map(|earlier| earlier::close(spec.key.clone(), earlier, metrics.clone()));
        let _earlier = earlier.map(|closing| AbortOnDropHandle::new(tokio::spawn(closing)));
        loop {
            tokio::select! {
                () = draining.cancelled() => return self.freeze(pod).await,
                changed = specs.changed() => {
                    // The sender is gone: the process ends.
                    if changed.is_err() {
                        return self.freeze(pod).await;
                    }
                    let wanted = specs.borrow_and_update().clone();
                    // The proxy may have learnt the addresses before the control plane did.
                    match wanted.map(|wanted| wanted.or_addresses(&spec.kernel.ips)) {
                        // Repeated, by a control plane that was away.
                        Some(wanted) if wanted == spec => {}
                        Some(wanted) if wanted.same_pod(&spec) => {
                            kernel_knows = self.reconfigure(&mut pod, &wanted);
                            spec = wanted;
                        }
                        _ => break,
                    }
                }
                () = pod.workload.rescan.notified() => {
                    // Clients can cause this as often as they like.
                    sleep(RESCAN_PAUSE).await;
                    rescan = rescan_listeners(&mut pod.enrolled, &spec);
                }
                () = pod.workload.listener_lost.notified() => {
                    // A process with CAP_NET_ADMIN in the pod can destroy sockets there (sock_diag), again and again.
                    warn!(workload = %spec.key, "a listener of the proxy in the pod was destroyed; opening new ones");
                    sleep(RETRY_INTERVAL).await;
                    break;
                }
                _ = checks.tick() => {
                    for (kind, lines) in pod.workload.log_limiter.suppressed() {
                        warn!(workload = %spec.key, kind, lines, "more lines of the same kind were not logged");
                    }
                    if !pod.workload.netns.is_current() {
                        info!(workload = %spec.key, "the pod's network namespace has gone away");
                        break;
                    }
                    pod.workload.sockets.trim();
                    if !kernel_knows {
                        kernel_knows = update_kernel(&mut pod.enrolled, &spec);
                    }
                    count = count.wrapping_add(1);
                    if rescan || count.is_multiple_of(RESCAN_EVERY) || pod.enrolled.has_many_listeners() {
                        rescan = rescan_listeners(&mut pod.enrolled, &spec);
                    }
                }
            }
        }
        let next = specs.borrow().clone();
        match next {
            Some(next)
                if next.same_netns(&spec, self.components.finder.by_name())
                    && pod.workload.netns.is_current() =>
            {
                self.reenroll(pod, &next).await;
            }
            _ => self.unenroll(pod, &spec).await,
        }
    }

    /// Whether the kernel has accepted the new configuration.
    fn reconfigure(&self, pod: &mut EnrolledPod, wanted: &Spec) -> bool {
        pod.workload.config.send_replace(wanted.config.clone().into());
        tokio::task::block_in_place(|| self.components.bypass.config_changed(&pod.workload));
        let updated = update_kernel(&mut pod.enrolled, wanted);
        if updated {
            info!(workload = %wanted.key, "workload reconfigured");
        }
        updated
    }
}

fn update_kernel(enrolled: &mut Enrolled, spec: &Spec) -> bool {
    let updated = enrolled.change(&spec.kernel);
    if let Err(error) = &updated {
        error!(workload = %spec.key, %error, "the kernel has not accepted all of the workload's configuration; trying again");
    }
    updated.is_ok()
}

/// Whether there are listeners that are older than the enrollment, so that they must be listed again.
fn rescan_listeners(enrolled: &mut Enrolled, spec: &Spec) -> bool {
    tokio::task::block_in_place(|| enrolled.find_preexisting_listeners()).unwrap_or_else(|error| {
        warn!(workload = %spec.key, %error, "failed to list the applications' listeners");
        true
    })
}
