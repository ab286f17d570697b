//! Follows the workloads that the control plane wants served on this node.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    sync::watch as channel,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weft_api::node::{self as api, update::Kind};

use super::{
    Spec, WatchConfig, WorkloadSupervisor,
    announcements::Meshed,
    node_api::{retries, updates},
};
use crate::{control::Client, identity::CurrentIssuer, net::Backoff, splice::Splicing, workload::Key};

/// Follows the stream of workloads; runs a supervising task for each.
pub struct WorkloadWatch {
    config: WatchConfig,
    control: Client,
    supervisor: Arc<WorkloadSupervisor>,
    splicing: Arc<Splicing>,
    issuer: CurrentIssuer,
    supervised: HashMap<Key, Supervised>,
    tasks: JoinSet<()>,
}

struct Supervised {
    uid: String,
    wanted: channel::Sender<Option<Spec>>,
    /// Its task has nothing left to do.
    idle: Arc<AtomicBool>,
}

impl Supervised {
    fn is_over(&self) -> bool {
        self.wanted.borrow().is_none() && self.idle.load(Ordering::Acquire)
    }
}

impl WorkloadWatch {
    pub fn new(
        config: WatchConfig,
        control: Client,
        supervisor: Arc<WorkloadSupervisor>,
        splicing: Arc<Splicing>,
        issuer: CurrentIssuer,
    ) -> Self {
        Self {
            config,
            control,
            supervisor,
            splicing,
            issuer,
            supervised: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Follows until dropped. While the control plane is away, the last known state holds. When `leaving` is cancelled,
    /// the stream is closed, by which the control plane learns that nobody serves the node any more; the last known state
    /// holds.
    ///
    /// # Panics
    /// When a supervising task has panicked.
    pub async fn run(mut self, leaving: CancellationToken) {
        let mut backoff = retries();
        loop {
            let ended = tokio::select! {
                biased;
                () = leaving.cancelled() => break,
                ended = self.follow(&mut backoff) => ended,
            };
            self.supervisor.announcements.disconnected();
            match ended {
                Ok(()) => info!("the control plane ended the stream of workloads; connecting again"),
                Err(status) => {
                    warn!(code = ?status.code(), reason = status.message(), "the control plane does not send workloads; serving the last known ones");
                }
            }
            backoff.pause().await;
            while let Some(ended) = self.tasks.try_join_next() {
                propagate_panic(ended);
            }
        }
        std::future::pending().await
    }

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), tonic::Status> {
        let mut updates = updates(&self.config, &self.control, false).await?;
        loop {
            let update = tokio::select! {
                update = updates.message() => update?,
                Some(ended) = self.tasks.join_next() => {
                    propagate_panic(ended);
                    continue;
                }
            };
            let Some(update) = update else { return Ok(()) };
            backoff.reset();
            match update.kind {
                Some(Kind::Snapshot(snapshot)) => {
                    if let Some(issuer) = snapshot.issuer {
                        self.issuer.set(issuer.certificate);
                    }
                    self.splicing.set_targets(snapshot.splice.unwrap_or_default());
                    self.replace(snapshot.workloads, snapshot.unmeshed);
                }
                Some(Kind::Issuer(issuer)) => self.issuer.set(issuer.certificate),
                Some(Kind::Splice(splice)) => self.splicing.set_targets(splice),
                Some(Kind::Upsert(workload)) => self.upsert(workload),
                Some(Kind::Remove(removed)) => {
                    let key = Key { namespace: removed.namespace, name: removed.name };
                    self.supervisor.announcements.removed(&removed.uid);
                    self.remove(&key, Some(&removed.uid));
                }
                Some(Kind::Unmeshed(pod)) => self.supervisor.announcements.unmeshed(&pod.uid),
                None => warn!("the control plane sent an empty update; is it of another version?"),
            }
            self.supervised.retain(|_, supervised| !supervised.is_over());
        }
    }

    fn replace(&mut self, workloads: Vec<api::Workload>, unmeshed: Vec<api::WorkloadRef>) {
        self.supervisor.announcements.replace(unmeshed.into_iter().map(|pod| pod.uid));
        let named = |workload: &api::Workload| {
            workload.r#ref.as_ref().map(|r| Key { namespace: r.namespace.clone(), name: r.name.clone() })
        };
        let wanted: Vec<Key> = workloads.iter().filter_map(named).collect();
        let removed: Vec<Key> = self.supervised.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        for key in removed {
            self.remove(&key, None);
        }
        for workload in workloads {
            self.upsert(workload);
        }
        self.supervisor.snapshot_seen();
    }

    fn upsert(&mut self, workload: api::Workload) {
        let spec = match Spec::try_from(workload) {
            Ok(spec) => spec,
            Err(error) => {
                warn!(%error, "ignoring an update of a workload");
                return;
            }
        };
        let fail_open = spec.config.fail_open;
        let meshed = Meshed { key: spec.key.clone(), fail_open, host_network: spec.host_network };
        self.supervisor.announcements.meshed(&spec.uid, meshed);
        if let Some(supervised) = self.supervised.get_mut(&spec.key) {
            supervised.uid.clone_from(&spec.uid);
            supervised.wanted.send_replace(Some(spec));
            return;
        }
        let (wanted, specs) = channel::channel(Some(spec.clone()));
        let idle = Arc::<AtomicBool>::default();
        self.tasks.spawn(self.supervisor.clone().reconcile(specs, idle.clone()));
        self.supervised.insert(spec.key, Supervised { uid: spec.uid, wanted, idle });
    }

    /// With `uid`, only if it is still that pod: a new one may have the name already.
    fn remove(&mut self, key: &Key, uid: Option<&str>) {
        if let Some(supervised) = self.supervised.get(key)
            && uid.is_none_or(|uid| uid.is_empty() || uid == supervised.uid)
        {
            supervised.wanted.send_replace(None);
        }
    }
}

impl Drop for WorkloadWatch {
    /// The supervising tasks see that nobody names workloads any more, and stop accepting in good order.
    fn drop(&mut self) {
        self.tasks.detach_all();
    }
}

/// A supervising task that has panicked serves its pod no longer: that must not go unnoticed.
fn propagate_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
