//! Which connections need no proxy?
//!
//! Those between two workloads of this node, to a port whose bytes are opaque, that policy admits: once one has
//! come through the proxy, the kernel lets the next ones go directly, until anything changes that the leave was
//! based on. Every change takes effect first and withdraws passes second; granting reads what holds under the
//! same lock. So no pass can outlive its reasons.
#![forbid(unsafe_code)]

mod events;
mod figures;
mod relief;
mod route;
mod settle;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ipnet::IpNet;
use parking_lot::{Mutex, RwLock};
use tracing::{debug, warn};
use weft_common::{Pass, PassBackend, PassKey};

use self::{events::Opens, figures::Figures, route::Route};
use crate::{
    balance::Endpoint,
    capture::Capture,
    config::DirectPass,
    discovery::{Destination, Discovery},
    metrics::Metrics,
    policy::Client,
    workloads::{Registry, Workload},
};

/// Passes of one source; beyond that its connections take the proxy.
const PER_SOURCE: usize = 512;
/// All passes; as many as the kernel's map holds.
const MOST: usize = 16_384;
/// Ports that applications were heard on first.
const LEARNED: usize = 8_192;
/// For so long after a pass was withdrawn its last connections may still open (SYNs are repeated for minutes, but
/// those that were on their way are treated like strangers').
const LINGER: Duration = Duration::from_secs(60);
/// An application that speaks first does so at once; later it is rather a complaint about silence.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The passes of this node.
pub struct Passes {
    mode: DirectPass,
    /// Not yet, while a predecessor may go on.
    granting: AtomicBool,
    /// What the numbers of this proxy's passes begin with.
    generation: u32,
    capture: Arc<Capture>,
    registry: Arc<Registry>,
    discovery: Arc<Discovery>,
    metrics: Metrics,
    cluster_networks: Vec<IpNet>,
    table: Mutex<Table>,
    /// What the kernel was told; it forgets a port by itself when nobody listens there any more.
    learned: RwLock<HashSet<(u64, u16)>>,
    opens: Mutex<Opens>,
    figures: Arc<Figures>,
}

#[derive(Default)]
struct Table {
    by_key: HashMap<PassKey, Arc<Route>>,
    /// Those that were withdrawn lately included.
    by_id: HashMap<u64, Arc<Route>>,
    withdrawn: VecDeque<(Instant, u64)>,
    per_source: HashMap<u64, usize>,
    next: u64,
}

/// Why a pass is withdrawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    /// The terms of its source or of a destination changed.
    Terms,
    /// Its source or a destination has left or moved.
    Membership,
    /// What serves the address changed, or is not followed any more.
    Destination,
}

impl Passes {
    /// Grants what `mode` allows, once [`Passes::begin`] says so, and follows what earlier proxies' passes left open.
    pub fn new(
        mode: DirectPass,
        capture: Arc<Capture>,
        registry: Arc<Registry>,
        discovery: Arc<Discovery>,
        metrics: Metrics,
        cluster_networks: Vec<IpNet>,
    ) -> Arc<Self> {
        let figures = Arc::<Figures>::default();
        metrics.register_collector(Box::new(figures::Collected(figures.clone())));
        // A predecessor's ids are still in the storage of its connections' sockets.
        let generation = rand::random::<u32>() | 1;
        let next = u64::from(generation) << 32;
        let passes = Arc::new(Passes {
            mode,
            granting: AtomicBool::new(false),
            generation,
            capture,
            registry,
            discovery: discovery.clone(),
            metrics,
            cluster_networks,
            table: Mutex::new(Table { next, ..Table::default() }),
            learned: RwLock::default(),
            opens: Mutex::default(),
            figures,
        });
        let weak = Arc::downgrade(&passes);
        discovery.on_change(Box::new(move |original| {
            if let Some(passes) = weak.upgrade() {
                passes.destination_changed(original);
            }
        }));
        passes
    }

    /// A connection of `source` to `original` came through to a workload of this node: may the next ones go
    /// directly?
    pub fn consider(&self, source: &Arc<Workload>, original: SocketAddr) {
        // Once without the lock: most ports are not opaque.
        if self.backends(source, original).is_none() {
            return;
        }
        // The programs in force read this proxy's passes; nobody could withdraw them if it were given up.
        if !self.begun() {
            return;
        }
        let key = PassKey { netns: source.netns().cookie(), to: original.into(), pad: 0 };
        let mut table = self.table.lock();
        if table.by_key.contains_key(&key) {
            return;
        }
        let Some(backends) = self.backends(source, original) else { return };
        let of_source = table.per_source.get(&key.netns).copied().unwrap_or_default();
        if of_source >= PER_SOURCE || table.by_key.len() >= MOST {
            self.figures.full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        table.next += 1;
        let id = table.next;
        let mut pass = Pass { id, len: backends.len() as u32, ..Pass::default() };
        for (slot, (endpoint, workload)) in pass.backends.iter_mut().zip(&backends) {
            let learned = !endpoint.opaque;
            *slot = PassBackend {
                netns: workload.netns().cookie(),
                addr: endpoint.addr.into(),
                learned: learned.into(),
            };
        }
        let route = Route::new(&self.metrics, id, key, source, original, &backends);
        if let Err(error) = self.capture.grant(&key, &pass) {
            warn!(source = %source.key, %original, %error, "the kernel was not told that connections may go directly");
            self.figures.full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        debug!(source = %source.key, %original, backends = backends.len(), "the next connections go directly");
        *table.per_source.entry(key.netns).or_default() += 1;
        let route = Arc::new(route);
        table.by_id.insert(id, route.clone());
        table.by_key.insert(key, route);
        self.figures.granted.fetch_add(1, Ordering::Relaxed);
        self.figures.passes.store(table.by_key.len() as u64, Ordering::Relaxed);
    }

    /// The application behind a port of `workload` was the first to speak, `after` the connection was made: its
    /// bytes are opaque, whatever they are.
    pub fn spoke_first(&self, workload: &Workload, port: u16, after: Duration) {
        if after > AT_ONCE || !self.concerns(workload) {
            return;
        }
        let netns = workload.netns().cookie();
        let mut learned = self.learned.write();
        if learned.len() >= LEARNED && !learned.contains(&(netns, port)) {
            return;
        }
        match self.capture.learn(netns, port) {
            Ok(()) => {
                learned.insert((netns, port));
            }
            Err(error) => debug!(workload = %workload.key, port, %error, "not learned"),
        }
    }

    /// The workload's terms have changed (already): passes from and to it are found out anew, and connections that
    /// it would not admit any more are ended.
    pub fn terms_changed(self: &Arc<Self>, workload: &Arc<Workload>) {
        let withdrawn = self.forget(workload, Cause::Terms);
        self.settle(workload, withdrawn);
    }

    /// The workload is not in the registry any more.
    pub fn left(self: &Arc<Self>, workload: &Arc<Workload>) {
        let withdrawn = self.forget(workload, Cause::Membership);
        self.settle(workload, withdrawn);
    }

    fn forget(&self, workload: &Workload, cause: Cause) -> Vec<Arc<Route>> {
        let netns = workload.netns().cookie();
        self.learned.write().retain(|(of, _)| *of != netns);
        if let Err(error) = self.capture.unlearn(netns) {
            warn!(workload = %workload.key, %error, "the kernel still takes ports for opaque");
        }
        self.withdraw(cause, |route| route.concerns(netns))
    }

    fn destination_changed(&self, original: SocketAddr) {
        self.withdraw(Cause::Destination, |route| route.original == original);
    }

    fn withdraw(&self, cause: Cause, which: impl Fn(&Route) -> bool) -> Vec<Arc<Route>> {
        let mut table = self.table.lock();
        let mut gone: Vec<Arc<Route>> = table.by_key.values().filter(|route| which(route)).cloned().collect();
        gone.retain(|route| {
            if let Err(error) = self.capture.withdraw(&route.key, route.id) {
                // It stays in the table, to be tried again with the next change; the kernel checks addresses itself.
                warn!(original = %route.original, %error, "the kernel was not told that connections take the proxy again");
                self.figures.failed.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            table.by_key.remove(&route.key);
            if let Some(passes) = table.per_source.get_mut(&route.key.netns) {
                *passes -= 1;
                if *passes == 0 {
                    table.per_source.remove(&route.key.netns);
                }
            }
            table.withdrawn.push_back((Instant::now(), route.id));
            self.figures.withdrawn(cause).fetch_add(1, Ordering::Relaxed);
            true
        });
        self.figures.passes.store(table.by_key.len() as u64, Ordering::Relaxed);
        gone
    }

    /// Those that serve `original`, if connections of `source` may go to each of them directly.
    fn backends(
        &self,
        source: &Arc<Workload>,
        original: SocketAddr,
    ) -> Option<Vec<(Endpoint, Arc<Workload>)>> {
        if !self.concerns(source) {
            return None;
        }
        let destination = self.discovery.known(original)?;
        let mut endpoints = match &*destination {
            Destination::External => return None,
            Destination::Endpoint(endpoint) => vec![endpoint.clone()],
            Destination::Service { balancer, opaque, .. } => {
                let mut endpoints = balancer.endpoints();
                endpoints.iter_mut().for_each(|endpoint| endpoint.opaque |= opaque);
                endpoints
            }
        };
        let first = endpoints.first()?;
        let weight = first.weight;
        if endpoints.len() > Pass::BACKENDS {
            return None;
        }
        // Still the one that is served: it may have left while its connection was on the way.
        let own = self.registry.at(SocketAddr::new(*source.ips.first()?, 0))?;
        if !Arc::ptr_eq(&own, source) {
            return None;
        }
        endpoints
            .drain(..)
            .map(|endpoint| {
                let workload = self.registry.at(endpoint.addr)?;
                let fits = endpoint.weight == weight
                    && endpoint.addr.is_ipv6() == original.is_ipv6()
                    && endpoint.tls.as_ref().is_some_and(|tls| tls.identity == workload.identity)
                    && !Arc::ptr_eq(&workload, source)
                    && !workload.fast_open
                    && self.admits(source, &workload, &endpoint);
                fits.then_some((endpoint, workload))
            })
            .collect()
    }

    /// Whether connections of the workload and to it may go directly at all.
    fn concerns(&self, workload: &Workload) -> bool {
        let trusts_its_links = match self.mode {
            DirectPass::On => true,
            DirectPass::Auto => workload.links_of_its_own,
            DirectPass::Off => false,
        };
        trusts_its_links && workload.terms().direct_pass
    }

    fn admits(&self, source: &Workload, workload: &Workload, endpoint: &Endpoint) -> bool {
        let port = endpoint.addr.port();
        let opaque = endpoint.opaque || self.learned.read().contains(&(workload.netns().cookie(), port));
        let Some(ip) = source.address_like(endpoint.addr.ip()) else { return false };
        let client = Client { ip, identity: Some(&source.identity) };
        let terms = workload.terms();
        opaque
            && self.concerns(workload)
            && !workload.skips_inbound(port)
            && terms.policies.port(port).policy.authorize(client, &self.cluster_networks).admits()
    }
}
