//! Enrolls a pod: finds its network namespace, opens listeners in it, and captures its connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch as channel},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use weft_api::node::State;

use super::{
    Components, Spec, WorkloadSupervisor, earlier, locate::Found, netns_owner::HOST_NETWORK,
    supervisor::RETRY_INTERVAL,
};
use crate::{
    capture::{EarlierConnections, Enrolled, Listeners, Netns, SocketPool},
    connection::Acceptors,
    identity::Lease,
    logging::LogLimiter,
    metrics::WorkloadLabels,
    workload::Workload,
};

/// How long a fail-open workload goes directly while it has no certificate, before that is logged. Others are captured at
/// once, and their connections wait.
pub(super) const CERTIFICATE_WAIT: Duration = Duration::from_secs(3);

/// A pod whose connections come to the proxy.
pub(super) struct EnrolledPod {
    pub(super) workload: Arc<Workload>,
    pub(super) enrolled: Enrolled,
    pub(super) acceptors: Acceptors,
    /// Connections that are older, if they are to be closed.
    pub(super) earlier: Option<EarlierConnections>,
}

impl WorkloadSupervisor {
    /// # Errors
    /// Why the pod can never be served as it is. What may pass is tried again.
    pub(super) async fn enroll(&self, spec: &Spec) -> Result<EnrolledPod, String> {
        if spec.host_network {
            return Err(HOST_NETWORK.to_owned());
        }
        let lease = self.components.store.lease(&spec.identity);
        let Found { netns, ips } = self.find_netns(spec).await?;
        let spec = &spec.clone().or_addresses(&ips);
        // In plaintext rather than waiting for a certificate in the proxy: that is what fail-open means.
        if spec.config.fail_open && timeout(CERTIFICATE_WAIT, lease.usable()).await.is_err() {
            warn!(workload = %spec.key, identity = %spec.identity, "no certificate yet; the workload is enrolled when it has one");
            lease.usable().await;
        }
        loop {
            let started = Instant::now();
            // Must not be cancelled half-way, hence without an await.
            let enroll = || {
                self.enrolling.fetch_add(1, Ordering::AcqRel);
                let enrolled = tokio::task::block_in_place(|| self.enroll_now(spec, &netns, &lease));
                self.enrolling.fetch_sub(1, Ordering::AcqRel);
                enrolled
            };
            let reporter = &self.components.reporter;
            match self.lock.run_when_open(enroll).await {
                Ok(pod) => {
                    info!(workload = %spec.key, identity = %spec.identity, netns = netns.cookie(), took = ?started.elapsed(), "workload enrolled");
                    reporter.set(&spec.key, &spec.uid, State::Served, "");
                    return Ok(pod);
                }
                Err(reason) => {
                    error!(workload = %spec.key, reason, "enrollment failed; trying again");
                    reporter.set(&spec.key, &spec.uid, State::Joining, &reason);
                    sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    fn enroll_now(&self, spec: &Spec, netns: &Netns, lease: &Lease) -> Result<EnrolledPod, String> {
        let capture = &self.components.capture;
        let cookie = netns.cookie();
        let inherited = self.inherited.lock().remove(&cookie);
        let was_handed_over = inherited.is_some();
        // Programs of another version keep sending connections to the predecessor, which alone knows where they go.
        let listeners = match inherited.filter(|_| !capture.has_other_versions()) {
            Some(listeners) => listeners,
            None => Listeners::open(netns)
                .map_err(|error| format!("listening in the pod's network namespace: {error}"))?,
        };
        let listeners = Arc::new(listeners);
        let workload = self.workload(spec, netns, lease);
        let mut enrolled = match Enrolled::observe(capture, netns, &listeners, &spec.kernel) {
            Ok(enrolled) => enrolled,
            Err(error) => {
                // Not taken over yet, if they are a predecessor's.
                if let Some(listeners) = Arc::into_inner(listeners).filter(|_| was_handed_over) {
                    self.inherited.lock().insert(cookie, listeners);
                }
                return Err(error.to_string());
            }
        };
        let acceptors = match Acceptors::start(&self.components.data_path, &workload, &listeners) {
            Ok(acceptors) => acceptors,
            Err(error) => return Err(undo(enrolled, error.to_string())),
        };
        // What a predecessor, perhaps one of another version, has captured is no earlier connection.
        let was_served = was_handed_over || capture.has_other_versions() || enrolled.was_captured();
        // Listed before anything is captured, so that none of them is the proxy's own.
        let earlier = if was_served { None } else { list_earlier(spec, netns) };
        if let Err(error) = enrolled.capture() {
            return Err(undo(enrolled, error.to_string()));
        }
        let earlier = earlier.and_then(|connections| self.settle_earlier(spec, connections));
        self.components.registry.add(&workload);
        self.serving.lock().insert(cookie, listeners);
        Ok(EnrolledPod { workload, enrolled, acceptors, earlier })
    }

    /// The connections that may still be open for a while.
    fn settle_earlier(&self, spec: &Spec, connections: EarlierConnections) -> Option<EarlierConnections> {
        if spec.config.fail_open {
            return (!spec.keeps_earlier_connections).then_some(connections);
        }
        earlier::close_now(&spec.key, connections, &self.components.earlier);
        None
    }

    fn workload(&self, spec: &Spec, netns: &Netns, lease: &Lease) -> Arc<Workload> {
        let Components { capture, limiter, .. } = &self.components;
        Arc::new(Workload {
            key: spec.key.clone(),
            identity: spec.identity.clone(),
            ips: spec.kernel.ips.clone(),
            labels: Arc::new(WorkloadLabels::new(&spec.key.namespace, &spec.key.name, &spec.labels)),
            log_limiter: LogLimiter::default(),
            sockets: SocketPool::new(netns, limiter),
            fast_open: netns.takes_fast_open(),
            isolated_links: spec.has_isolated_links(netns, capture.host()),
            netns: netns.clone(),
            lease: lease.clone(),
            config: channel::Sender::new(Arc::new(spec.config.clone())),
            terminated: CancellationToken::new(),
            rescan: Notify::new(),
            limiter: limiter.limiter(self.components.max_connections_per_workload),
            requests: self.components.requests.limiter(),
            listener_lost: Notify::new(),
            enrolled_at: Instant::now(),
            leaving: AtomicBool::new(false),
        })
    }
}

fn list_earlier(spec: &Spec, netns: &Netns) -> Option<EarlierConnections> {
    let listed = EarlierConnections::list(netns, &spec.kernel);
    let listed = listed.inspect_err(|error| {
        warn!(workload = %spec.key, %error, "failed to list connections that are older than the pod's enrollment: they stay unencrypted until they end");
    });
    listed.ok().filter(|connections| !connections.is_empty())
}

/// Removes from the kernel's maps what was written for a workload that cannot be served after all.
fn undo(enrolled: Enrolled, reason: String) -> String {
    match enrolled.forget() {
        Ok(()) => reason,
        Err(error) => format!("{reason}; and the kernel's maps still hold the workload: {error}"),
    }
}
