//! What is known of one destination, and who keeps it up to date?

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, futures::Notified, watch},
    task::JoinHandle,
};

use super::{Changes, Config, away::ControlPlane, destination::Destination, watch::watch_profile};
use crate::balance::Balancer;

/// A destination and its watch, which ends with it.
#[derive(Debug)]
pub(super) struct Entry {
    shared: Arc<Shared>,
    used: AtomicU64,
    _watch: AbortOnDrop,
}

/// How far the first lookup is.
#[derive(Clone, Debug)]
pub(super) enum Progress {
    /// All is well; while there is no answer, this call has not been answered.
    Asking(&'static str),
    /// A call fails and is tried again.
    Failing { since: Instant, call: &'static str, reason: Arc<str> },
}

/// What the watches tell the entry.
#[derive(Debug)]
pub(super) struct Shared {
    current: ArcSwapOption<Destination>,
    progress: watch::Sender<Progress>,
    service: Mutex<Option<Service>>,
    /// Somebody waits: do not sleep for long.
    hurry: Notify,
    dst: SocketAddr,
    changes: Arc<Changes>,
}

/// A service that is being watched.
#[derive(Debug)]
struct Service {
    authority: String,
    opaque: bool,
    balancer: Arc<Balancer>,
    /// `None` until the first answer about its endpoints.
    labels: Option<Arc<BTreeMap<String, String>>>,
}

/// A task that does not outlive its owner.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Entry {
    pub(super) fn watch(
        dst: SocketAddr,
        now: u64,
        control: Arc<ControlPlane>,
        config: Arc<Config>,
        changes: Arc<Changes>,
    ) -> Self {
        let shared = Arc::new(Shared {
            current: ArcSwapOption::empty(),
            progress: watch::Sender::new(Progress::Asking(super::watch::GET_PROFILE)),
            service: Mutex::new(None),
            hurry: Notify::new(),
            dst,
            changes,
        });
        let task = control.runtime.spawn(watch_profile(dst, shared.clone(), control.clone(), config));
        Self { shared, used: AtomicU64::new(now), _watch: AbortOnDrop(task) }
    }

    pub(super) fn current(&self) -> Option<Arc<Destination>> {
        self.shared.current.load_full()
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    pub(super) fn hurry(&self) {
        self.shared.hurry.notify_waiters();
    }

    pub(super) fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// An answer whose watch is broken: it could not be had again.
    pub(super) fn is_precious(&self) -> bool {
        self.shared.is_failing() && self.shared.has_answer()
    }
}

impl Shared {
    /// Ends when somebody begins to wait for the answer.
    pub(super) fn hurried(&self) -> Notified<'_> {
        self.hurry.notified()
    }

    pub(super) fn has_answer(&self) -> bool {
        self.current.load().is_some()
    }

    /// The watch of a call ended with an error.
    pub(super) fn failing(&self, call: &'static str, reason: &str) {
        self.progress.send_modify(|progress| {
            let since = match progress {
                Progress::Failing { since, .. } => *since,
                _ => Instant::now(),
            };
            *progress = Progress::Failing { since, call, reason: reason.into() };
        });
    }

    /// A watch is well; an answer needs `next_call` too.
    pub(super) fn well(&self, next_call: &'static str) {
        self.progress.send_replace(Progress::Asking(next_call));
    }

    /// The destination is not a service.
    pub(super) fn answer(&self, destination: Destination) {
        let mut service = self.service.lock();
        *service = None;
        self.publish(destination);
    }

    /// The destination is a service. Returns the balancer to fill if it is not the one known already.
    pub(super) fn is_service(&self, authority: &str, opaque: bool) -> Option<Arc<Balancer>> {
        let mut service = self.service.lock();
        if let Some(known) = service.as_mut().filter(|known| known.authority == authority) {
            if known.opaque != opaque {
                known.opaque = opaque;
                self.publish_service(known);
            }
            return None;
        }
        let balancer = Arc::<Balancer>::default();
        // Until its endpoints are known the last answer stays.
        *service = Some(Service {
            authority: authority.to_owned(),
            opaque,
            balancer: balancer.clone(),
            labels: None,
        });
        Some(balancer)
    }

    /// The balancer of a service has been filled.
    pub(super) fn filled(&self, balancer: &Arc<Balancer>, labels: Arc<BTreeMap<String, String>>) {
        let mut service = self.service.lock();
        // The destination may have become something else meanwhile.
        let Some(known) = service.as_mut().filter(|known| Arc::ptr_eq(&known.balancer, balancer)) else {
            return;
        };
        if known.labels.as_ref() != Some(&labels) {
            known.labels = Some(labels);
            self.publish_service(known);
        }
    }

    /// The service of a balancer is none of the mesh's business.
    pub(super) fn is_no_service(&self, balancer: &Arc<Balancer>) {
        let mut service = self.service.lock();
        if service.as_ref().is_some_and(|known| Arc::ptr_eq(&known.balancer, balancer)) {
            *service = None;
            self.publish(Destination::External);
        }
    }

    fn publish_service(&self, service: &Service) {
        if let Some(labels) = &service.labels {
            self.publish(Destination::Service {
                authority: service.authority.clone(),
                balancer: service.balancer.clone(),
                labels: labels.clone(),
                opaque: service.opaque,
            });
        }
    }

    fn publish(&self, destination: Destination) {
        self.current.store(Some(Arc::new(destination)));
        self.changed();
        self.well(super::watch::GET_PROFILE);
    }

    /// What serves the destination is not what it was.
    pub(super) fn changed(&self) {
        self.changes.tell(self.dst);
    }

    fn is_failing(&self) -> bool {
        matches!(&*self.progress.borrow(), Progress::Failing { .. })
    }
}
