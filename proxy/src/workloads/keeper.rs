//! How does a pod join, stay and leave?

mod claim;
mod elders;
mod relief;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    sync::watch as channel,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{error, info, warn};
use weft_api::node::State;

use self::elders::Elders;
use super::{
    Key, NetnsFinder, Registry, Spec, States, Workload,
    gate::Gate,
    gone::{LOOK, end_with_pod, gone_within},
    serve::{Serving, turned},
};
use crate::{
    app::Shared,
    capture::{Enrolled, Listeners, Netns, Stock},
    identity::{Lease, Store},
    logging::Throttle,
    metrics::WorkloadLabels,
};

/// A workload whose connections may go directly is not captured before it has a certificate; one whose
/// connections may not is, when this is over.
const CERTIFICATE_WAIT: Duration = Duration::from_secs(3);
/// How long peers may take to notice that a workload has left the mesh.
const LEAVING: Duration = Duration::from_secs(3);
/// Every so many looks the applications' listeners are listed again, whatever sockops has told.
const LISTING: u32 = 15;
const BETWEEN_LISTINGS: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_secs(1);

/// What keepers need.
pub struct Keeper {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    states: Arc<States>,
    store: Arc<Store>,
    finder: NetnsFinder,
    inherited: Mutex<HashMap<u64, Listeners>>,
    serving: Mutex<HashMap<u64, Arc<Listeners>>>,
    claimed: Mutex<HashMap<u64, Key>>,
    informed: AtomicBool,
    /// How many pods are just being enrolled.
    enrolling: AtomicUsize,
    gate: Gate,
}

struct Joined {
    workload: Arc<Workload>,
    enrolled: Enrolled,
    serving: Serving,
}

impl Keeper {
    /// `inherited` are a predecessor's listeners by netns cookie.
    pub fn new(
        shared: Arc<Shared>,
        registry: Arc<Registry>,
        states: Arc<States>,
        store: Arc<Store>,
        finder: NetnsFinder,
        inherited: HashMap<u64, Listeners>,
    ) -> Arc<Self> {
        Arc::new(Keeper {
            shared,
            registry,
            states,
            store,
            finder,
            inherited: Mutex::new(inherited),
            serving: Mutex::default(),
            claimed: Mutex::default(),
            informed: AtomicBool::new(false),
            enrolling: AtomicUsize::new(0),
            gate: Gate::default(),
        })
    }

    /// # Errors
    /// What is still waited for.
    pub fn ready(&self) -> Result<(), String> {
        if !self.informed.load(Ordering::Acquire) {
            Err("the control plane has not said yet which workloads to serve".to_owned())
        } else if !self.store.anchors_ready() {
            Err("there are no trust anchors".to_owned())
        } else if !self.store.any_ready() {
            Err("no workload has a certificate yet".to_owned())
        } else {
            Ok(())
        }
    }

    /// Keeps one pod as `specs` says, until nobody says any more; `idle` says whether that is nothing at present.
    pub(super) async fn keep(
        self: Arc<Self>,
        mut specs: channel::Receiver<Option<Spec>>,
        idle: Arc<AtomicBool>,
    ) {
        let mut last = None;
        let mut elders = Elders::default();
        loop {
            // Before looking: whoever finds it idle may rely on its having seen what was said last.
            idle.store(false, Ordering::Release);
            let Some(spec) = specs.borrow_and_update().clone() else {
                if let Some(key) = last.take() {
                    self.disclaim(&key).await;
                    self.states.forget(&key);
                }
                elders = Elders::default();
                idle.store(true, Ordering::Release);
                // Another pod of this name may be told of at any moment.
                match specs.changed().await {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            };
            last = Some(spec.key.clone());
            let joined = tokio::select! {
                joined = self.join(&spec) => joined,
                changed = specs.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            match joined {
                Ok(joined) => {
                    // Under other terms than before: what is open is to be judged by these.
                    if elders.any() {
                        elders.follow(&joined.workload);
                        tokio::task::block_in_place(|| self.shared.passes.terms_changed(&joined.workload));
                    }
                    elders.add(&joined.workload);
                    self.stay(joined, spec, &mut specs).await;
                }
                Err(reason) => {
                    error!(workload = %spec.key, reason, "the workload cannot be served");
                    self.states.set(&spec.key, &spec.uid, State::Refused, &reason);
                    if specs.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// # Errors
    /// Why the pod can never be served as it is.
    async fn join(&self, spec: &Spec) -> Result<Joined, String> {
        if spec.host_network {
            return Err(claim::SHARED.to_owned());
        }
        let lease = self.store.lease(&spec.identity);
        let netns = self.find(spec).await?;
        // Its connections may go directly: better so than to wait for a certificate in the proxy. Those of others
        // are captured at once and wait.
        if spec.terms.fail_open && timeout(CERTIFICATE_WAIT, lease.usable()).await.is_err() {
            warn!(workload = %spec.key, identity = %spec.identity, "no certificate yet; the workload joins when it has one");
            lease.usable().await;
        }
        loop {
            let started = Instant::now();
            // Not to be cancelled half-way, hence without an await.
            let enrol = || {
                self.enrolling.fetch_add(1, Ordering::AcqRel);
                let joined = tokio::task::block_in_place(|| self.enrol(spec, &netns, &lease));
                self.enrolling.fetch_sub(1, Ordering::AcqRel);
                joined
            };
            match self.gate.pass_when_open(enrol).await {
                Ok(joined) => {
                    info!(workload = %spec.key, identity = %spec.identity, netns = netns.cookie(), took = ?started.elapsed(), "workload joined");
                    self.states.set(&spec.key, &spec.uid, State::Served, "");
                    return Ok(joined);
                }
                Err(reason) => {
                    error!(workload = %spec.key, reason, "joining failed; trying again");
                    self.states.set(&spec.key, &spec.uid, State::Joining, &reason);
                    sleep(RETRY).await;
                }
            }
        }
    }

    fn enrol(&self, spec: &Spec, netns: &Netns, lease: &Lease) -> Result<Joined, String> {
        let cookie = netns.cookie();
        let inherited = self.inherited.lock().remove(&cookie);
        let was_handed_over = inherited.is_some();
        // Another version's programs go on to lead connections to the predecessor, which alone knows where they go.
        let listeners = match inherited.filter(|_| !self.shared.capture.has_other_versions()) {
            Some(listeners) => listeners,
            None => Listeners::open(netns)
                .map_err(|error| format!("listening in the pod's network namespace: {error}"))?,
        };
        let listeners = Arc::new(listeners);
        let workload = Arc::new(Workload {
            key: spec.key.clone(),
            identity: spec.identity.clone(),
            ips: spec.kernel.ips.clone(),
            labels: Arc::new(WorkloadLabels::new(&spec.key.namespace, &spec.key.name, &spec.labels)),
            throttle: Throttle::default(),
            stock: Stock::new(netns, &self.shared.budget),
            fast_open: netns.takes_fast_open(),
            links_of_its_own: spec.has_links_of_its_own(netns, self.shared.capture.host()),
            netns: netns.clone(),
            lease: lease.clone(),
            terms: channel::Sender::new(Arc::new(spec.terms.clone())),
            ended: channel::Sender::new(false),
            reseed: tokio::sync::Notify::new(),
            share: self.shared.budget.share(self.shared.limits.connections_per_workload),
            lost: tokio::sync::Notify::new(),
        });
        let observed = Enrolled::observe(&self.shared.capture, netns, &listeners, &spec.kernel);
        let mut enrolled = match observed {
            Ok(enrolled) => enrolled,
            Err(error) => {
                // Not taken over yet, if they are a predecessor's.
                if let Some(listeners) = Arc::into_inner(listeners).filter(|_| was_handed_over) {
                    self.inherited.lock().insert(cookie, listeners);
                }
                return Err(error.to_string());
            }
        };
        let serving = match Serving::start(&self.shared, &workload, &listeners) {
            Ok(serving) => serving,
            Err(error) => return Err(undo(enrolled, error.to_string())),
        };
        if let Err(error) = enrolled.capture() {
            return Err(undo(enrolled, error.to_string()));
        }
        self.registry.add(&workload);
        self.serving.lock().insert(cookie, listeners);
        Ok(Joined { workload, enrolled, serving })
    }

    async fn stay(&self, mut joined: Joined, mut spec: Spec, specs: &mut channel::Receiver<Option<Spec>>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = 0u32;
        let mut seeded = true;
        let mut told = true;
        let mut draining = self.shared.draining.clone();
        loop {
            tokio::select! {
                () = turned(&mut draining) => return self.freeze(joined).await,
                changed = specs.changed() => {
                    // Nobody says any more what is wanted: the process ends.
                    if changed.is_err() {
                        return self.freeze(joined).await;
                    }
                    let wanted = specs.borrow_and_update().clone();
                    match wanted {
                        // Said again, by a control plane that was away.
                        Some(wanted) if wanted == spec => {}
                        Some(wanted) if wanted.same_pod(&spec) => {
                            told = self.change(&mut joined, &wanted);
                            spec = wanted;
                        }
                        _ => break,
                    }
                }
                () = joined.workload.reseed.notified() => {
                    // Clients can bring this about as often as they like.
                    sleep(BETWEEN_LISTINGS).await;
                    seeded = look_again(&mut joined.enrolled, &spec);
                }
                () = joined.workload.lost.notified() => {
                    // Whoever has CAP_NET_ADMIN in the pod can destroy sockets there (sock_diag), again and again.
                    warn!(workload = %spec.key, "a listener of the proxy's in the pod was destroyed; opening new ones");
                    sleep(RETRY).await;
                    break;
                }
                _ = look.tick() => {
                    for (kind, lines) in joined.workload.throttle.suppressed() {
                        warn!(workload = %spec.key, kind, lines, "more of the same were not logged");
                    }
                    if !joined.workload.netns.is_current() {
                        info!(workload = %spec.key, "the pod's network namespace is gone");
                        break;
                    }
                    joined.workload.stock.trim();
                    if !told {
                        told = tell_kernel(&mut joined.enrolled, &spec);
                    }
                    looks = looks.wrapping_add(1);
                    if seeded || looks.is_multiple_of(LISTING) || joined.enrolled.is_crowded() {
                        seeded = look_again(&mut joined.enrolled, &spec);
                    }
                }
            }
        }
        let next = specs.borrow().clone();
        match next {
            Some(next) if next.is_where(&spec) && joined.workload.netns.is_current() => {
                self.rejoin(joined, &next).await;
            }
            _ => self.leave(joined, &spec).await,
        }
    }

    /// The pod is to be served otherwise (another address, another identity): it is enrolled anew, and what was
    /// captured stays captured.
    async fn rejoin(&self, joined: Joined, next: &Spec) {
        let Joined { workload, enrolled, serving } = joined;
        self.registry.remove(&workload);
        tokio::task::block_in_place(|| self.shared.passes.left(&workload));
        tokio::spawn(end_with_pod(Arc::downgrade(&workload)));
        serving.stop().await;
        self.serving.lock().remove(&workload.netns.cookie());
        match enrolled.retire(&next.kernel.ips) {
            Ok(()) => info!(workload = %next.key, "the workload is enrolled anew"),
            Err(error) => warn!(workload = %next.key, %error, "the kernel's books still name old addresses"),
        }
    }

    /// Stops serving for good, but lets the kernel's books stand: they are a successor's, or the fail mode's.
    async fn freeze(&self, joined: Joined) {
        joined.serving.stop().await;
        self.serving.lock().remove(&joined.workload.netns.cookie());
        std::future::pending().await
    }

    /// Whether the kernel has taken the new terms.
    fn change(&self, joined: &mut Joined, wanted: &Spec) -> bool {
        joined.workload.terms.send_replace(Arc::new(wanted.terms.clone()));
        tokio::task::block_in_place(|| self.shared.passes.terms_changed(&joined.workload));
        let told = tell_kernel(&mut joined.enrolled, wanted);
        if told {
            info!(workload = %wanted.key, "the workload's terms changed");
        }
        told
    }

    async fn leave(&self, joined: Joined, spec: &Spec) {
        let Joined { workload, mut enrolled, serving } = joined;
        let cookie = workload.netns.cookie();
        self.states.set(&spec.key, &spec.uid, State::Leaving, "");
        self.registry.remove(&workload);
        tokio::task::block_in_place(|| self.shared.passes.left(&workload));
        let result = self.gate.pass(|| enrolled.release_outbound()).unwrap_or(Ok(()));
        if !gone_within(&workload.netns, LEAVING).await {
            let released = self.gate.pass_when_open(|| enrolled.release_inbound()).await;
            if let Err(error) = result.and(released) {
                warn!(workload = %spec.key, %error, "the kernel was not told that the workload leaves");
            }
            // What was redirected a moment ago reaches the listeners.
            gone_within(&workload.netns, Duration::from_millis(500)).await;
        }
        tokio::spawn(end_with_pod(Arc::downgrade(&workload)));
        serving.stop().await;
        self.serving.lock().remove(&cookie);
        self.claimed.lock().remove(&cookie);
        match self.gate.pass_when_open(|| enrolled.forget()).await {
            Ok(()) => info!(workload = %spec.key, "workload left"),
            Err(error) => warn!(workload = %spec.key, %error, "the kernel's books still name the workload"),
        }
    }
}

fn look_again(enrolled: &mut Enrolled, spec: &Spec) -> bool {
    tokio::task::block_in_place(|| enrolled.seed()).unwrap_or_else(|error| {
        warn!(workload = %spec.key, %error, "the applications' listeners could not be listed");
        true
    })
}

fn tell_kernel(enrolled: &mut Enrolled, spec: &Spec) -> bool {
    let told = enrolled.change(&spec.kernel);
    if let Err(error) = &told {
        error!(workload = %spec.key, %error, "the kernel was not told of all of the workload's new terms; trying again");
    }
    told.is_ok()
}

/// Takes back what was written of a workload that cannot be served after all.
fn undo(enrolled: Enrolled, reason: String) -> String {
    match enrolled.forget() {
        Ok(()) => reason,
        Err(error) => format!("{reason}; and the kernel's books still name the workload: {error}"),
    }
}
