//! Direct connections: lets the kernel connect two workloads of this node without the proxy.
//!
//! This is done for ports whose bytes are opaque, where policy allows the client. After a first connection has come
//! through the proxy, the kernel is granted to connect the next ones directly, until something changes that the grant
//! was based on. A change takes effect first and revokes grants second; granting checks the conditions under the same
//! lock. So no grant outlives its conditions.
#![forbid(unsafe_code)]

mod events;
mod grant;
mod metrics;
mod revoke;
mod takeover;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use tracing::{debug, warn};
use weft_common::{DirectBackend, DirectGrant, DirectKey};

use self::{events::OpenConnections, grant::Grant, metrics::Counters};
use crate::{
    authorize::Authorizer,
    balance::Endpoint,
    capture::Capture,
    discovery::{Destination, Discovery},
    metrics::Metrics,
    policy::Client,
    workload::{Registry, Workload},
};

/// Grants for one source; beyond that its connections go through the proxy.
const MAX_PER_SOURCE: usize = 512;
/// Grants in all; as many as the kernel's map holds.
const MAX_GRANTS: usize = 16_384;
/// Ports on which the application was seen to send first.
const MAX_LEARNED: usize = 8_192;
/// How long a revoked grant is kept: its last connections may still open. (SYNs are retransmitted for minutes, but later
/// ones are treated like those of unknown clients.)
const REVOKED_KEPT: Duration = Duration::from_secs(60);
/// An application that sends first does so at once; what comes later is rather a complaint about silence.
const SERVER_FIRST_WITHIN: Duration = Duration::from_secs(1);

/// Between which pods of a node connections may bypass the proxy.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DirectPass {
    /// Pods that both have links of their own to the node.
    #[default]
    Auto,
    /// All pods: whoever shares a link with others trusts them.
    On,
    /// None.
    Off,
}

/// The direct connections of this node, and the grants that allow them.
pub struct DirectConnections {
    mode: DirectPass,
    /// False while a predecessor may go on.
    granting: AtomicBool,
    /// The upper half of the ids of this proxy's grants.
    generation: u32,
    capture: Arc<Capture>,
    registry: Arc<Registry>,
    discovery: Arc<Discovery>,
    authorizer: Arc<Authorizer>,
    metrics: Metrics,
    table: Mutex<Table>,
    /// Ports whose application sends first, as the kernel was told; it drops a port when nobody listens there any more.
    learned: RwLock<HashSet<(u64, u16)>>,
    open_ends: Mutex<OpenConnections>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Table {
    by_key: HashMap<DirectKey, Arc<Grant>>,
    /// Including those that were revoked lately.
    by_id: HashMap<u64, Arc<Grant>>,
    revoked: VecDeque<(Instant, u64)>,
    per_source: HashMap<u64, usize>,
    next: u64,
}

/// Why a grant is revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    /// The configuration of its source or of a destination changed.
    Config,
    /// Its source or a destination is not served any more, or has moved.
    Membership,
    /// What serves the address changed, or is not watched any more.
    Destination,
}

impl DirectConnections {
    /// Grants what `mode` allows, once [`Self::start_granting`] is called.
    pub fn new(
        mode: DirectPass,
        capture: Arc<Capture>,
        registry: Arc<Registry>,
        discovery: Arc<Discovery>,
        authorizer: Arc<Authorizer>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let counters = Arc::<Counters>::default();
        metrics.register_collector(Box::new(metrics::BypassMetrics(counters.clone())));
        // A predecessor's ids are still in the storage of its connections' sockets.
        let generation = rand::random::<u32>() | 1;
        let next = u64::from(generation) << 32;
        let passes = Arc::new(DirectConnections {
            mode,
            granting: AtomicBool::new(false),
            generation,
            capture,
            registry,
            discovery: discovery.clone(),
            authorizer,
            metrics,
            table: Mutex::new(Table { next, ..Table::default() }),
            learned: RwLock::default(),
            open_ends: Mutex::default(),
            counters,
        });
        let weak = Arc::downgrade(&passes);
        discovery.on_change(Box::new(move |original| {
            if let Some(passes) = weak.upgrade() {
                passes.destination_changed(original);
            }
        }));
        passes
    }

    /// A connection of `source` to `original` has reached a workload of this node through the proxy: grants that the next
    /// ones go directly, if all conditions hold.
    pub fn maybe_grant(&self, source: &Arc<Workload>, original: SocketAddr) {
        // Once without the lock: most ports are not opaque.
        if self.backends(source, original).is_none() {
            return;
        }
        // The attached programs read this proxy's grants, and nobody could revoke them if the takeover failed.
        if !self.is_granting() {
            return;
        }
        let key = DirectKey { netns: source.netns.cookie(), to: original.into(), pad: 0 };
        let mut table = self.table.lock();
        if table.by_key.contains_key(&key) {
            return;
        }
        let Some(backends) = self.backends(source, original) else { return };
        let of_source = table.per_source.get(&key.netns).copied().unwrap_or_default();
        if of_source >= MAX_PER_SOURCE || table.by_key.len() >= MAX_GRANTS {
            self.counters.full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        table.next += 1;
        let id = table.next;
        let mut pass = DirectGrant { id, len: backends.len() as u32, ..DirectGrant::default() };
        for (slot, (endpoint, workload)) in pass.backends.iter_mut().zip(&backends) {
            let learned = !endpoint.opaque;
            *slot = DirectBackend {
                netns: workload.netns.cookie(),
                addr: endpoint.addr.into(),
                learned: learned.into(),
            };
        }
        let grant = Grant::new(&self.metrics, id, key, source, original, &backends);
        if let Err(error) = self.capture.grant(&key, &pass) {
            warn!(source = %source.key, %original, %error, "the kernel was not told that connections may go directly");
            self.counters.full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        debug!(source = %source.key, %original, backends = backends.len(), "the next connections go directly");
        *table.per_source.entry(key.netns).or_default() += 1;
        let grant = Arc::new(grant);
        table.by_id.insert(id, grant.clone());
        table.by_key.insert(key, grant);
        self.counters.granted.fetch_add(1, Ordering::Relaxed);
        self.counters.passes.store(table.by_key.len() as u64, Ordering::Relaxed);
    }

    /// The application behind a port of `workload` sent the first byte, `after` the connection was made: its protocol is
    /// opaque to the proxy.
    pub fn server_spoke_first(&self, workload: &Workload, port: u16, after: Duration) {
        if after > SERVER_FIRST_WITHIN || !self.is_eligible(workload) {
            return;
        }
        let netns = workload.netns.cookie();
        let mut learned = self.learned.write();
        if learned.len() >= MAX_LEARNED && !learned.contains(&(netns, port)) {
            return;
        }
        match self.capture.add_server_first_port(netns, port) {
            Ok(()) => {
                learned.insert((netns, port));
            }
            Err(error) => debug!(workload = %workload.key, port, %error, "not learned"),
        }
    }

    /// The workload's configuration has changed (already): revokes the grants from and to it, and ends connections that it
    /// does not allow any more.
    pub fn config_changed(self: &Arc<Self>, workload: &Arc<Workload>) {
        let revoked = self.forget(workload, Cause::Config);
        self.revoke_for(workload, revoked);
    }

    /// The workload has been removed from the registry.
    pub fn workload_removed(self: &Arc<Self>, workload: &Arc<Workload>) {
        let revoked = self.forget(workload, Cause::Membership);
        self.revoke_for(workload, revoked);
    }

    fn forget(&self, workload: &Workload, cause: Cause) -> Vec<Arc<Grant>> {
        let netns = workload.netns.cookie();
        self.learned.write().retain(|(of, _)| *of != netns);
        if let Err(error) = self.capture.clear_server_first_ports(netns) {
            warn!(workload = %workload.key, %error, "the kernel still takes ports for opaque");
        }
        self.revoke(cause, |grant| grant.is_affected_by(netns))
    }

    fn destination_changed(&self, original: SocketAddr) {
        self.revoke(Cause::Destination, |grant| grant.original == original);
    }

    fn revoke(&self, cause: Cause, which: impl Fn(&Grant) -> bool) -> Vec<Arc<Grant>> {
        let mut table = self.table.lock();
        let mut closed_ends: Vec<Arc<Grant>> =
            table.by_key.values().filter(|grant| which(grant)).cloned().collect();
        closed_ends.retain(|grant| {
            if let Err(error) = self.capture.revoke(&grant.key, grant.id) {
                // It stays in the table, to be tried again at the next change; the kernel checks addresses itself.
                warn!(original = %grant.original, %error, "the kernel was not told that connections take the proxy again");
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            table.by_key.remove(&grant.key);
            if let Some(passes) = table.per_source.get_mut(&grant.key.netns) {
                *passes -= 1;
                if *passes == 0 {
                    table.per_source.remove(&grant.key.netns);
                }
            }
            table.revoked.push_back((Instant::now(), grant.id));
            self.counters.revoked(cause).fetch_add(1, Ordering::Relaxed);
            true
        });
        self.counters.passes.store(table.by_key.len() as u64, Ordering::Relaxed);
        closed_ends
    }

    /// The endpoints of `original`, if connections of `source` may go to each of them directly.
    fn backends(
        &self,
        source: &Arc<Workload>,
        original: SocketAddr,
    ) -> Option<Vec<(Endpoint, Arc<Workload>)>> {
        if !self.is_eligible(source) {
            return None;
        }
        let destination = self.discovery.known(original)?;
        let mut endpoints = match &*destination {
            Destination::External => return None,
            Destination::Endpoint(endpoint) => vec![endpoint.clone()],
            Destination::Service { endpoints, opaque, .. } => {
                let mut endpoints = endpoints.same_family.endpoints();
                endpoints.iter_mut().for_each(|endpoint| endpoint.opaque |= opaque);
                endpoints
            }
        };
        let first = endpoints.first()?;
        let weight = first.weight;
        if endpoints.len() > DirectGrant::BACKENDS {
            return None;
        }
        // The source may have left the mesh while its connection was on the way.
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

    /// Whether connections from and to the workload may go directly at all.
    fn is_eligible(&self, workload: &Workload) -> bool {
        let trusts_links = match self.mode {
            DirectPass::On => true,
            DirectPass::Auto => workload.isolated_links,
            DirectPass::Off => false,
        };
        trusts_links && workload.config().direct_pass
    }

    fn admits(&self, source: &Workload, workload: &Workload, endpoint: &Endpoint) -> bool {
        let port = endpoint.addr.port();
        let opaque = endpoint.opaque || self.learned.read().contains(&(workload.netns.cookie(), port));
        let Some(ip) = source.address_like(endpoint.addr.ip()) else { return false };
        let client = Client { ip, identity: Some(&source.identity) };
        opaque
            && self.is_eligible(workload)
            && !workload.skips_inbound(port)
            && self.authorizer.decide(workload, endpoint.addr, client).admits()
    }
}
