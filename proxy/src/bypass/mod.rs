//! Lets the kernel connect two workloads of this node directly, without the proxy.
//!
//! This is done for opaque ports, if policy allows the client. The first connection goes through the proxy. The proxy
//! then grants the kernel to connect the next ones directly. When something changes that the grant depends on, the
//! grant is revoked. A change takes effect before grants are revoked, and granting checks the conditions under the same
//! lock, so no grant outlives its conditions.
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
    metrics::{AuthorizationLabels, Metrics},
    policy::Client,
    workload::{Registry, Workload},
};

/// The maximum number of grants for one source. Its connections to more addresses go through the proxy.
const MAX_PER_SOURCE: usize = 512;
/// The maximum number of grants of all sources: as many as the kernel's map holds.
const MAX_GRANTS: usize = 16_384;
/// The maximum number of ports that are known to send first.
const MAX_LEARNED: usize = 8_192;
/// How long a revoked grant is kept, because connections under it may still be opening. SYNs are retransmitted for
/// minutes, but later ones are treated like those of unknown clients.
const REVOKED_KEPT: Duration = Duration::from_secs(60);
/// A server that sends first does so at once. What comes later is more likely an error message because the client has
/// sent nothing.
const SERVER_FIRST_WITHIN: Duration = Duration::from_secs(1);

/// The pods of a node between which connections may bypass the proxy.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DirectPass {
    /// Pods that each have their own link to the node.
    #[default]
    Auto,
    /// All pods. Pods that share a link must trust each other.
    On,
    /// None.
    Off,
}

/// The direct connections of this node, and the grants that allow them.
pub struct DirectConnections {
    mode: DirectPass,
    /// False while a predecessor still serves.
    granting: AtomicBool,
    /// The upper 32 bits of the ids of this proxy's grants.
    generation: u32,
    capture: Arc<Capture>,
    registry: Arc<Registry>,
    discovery: Arc<Discovery>,
    authorizer: Arc<Authorizer>,
    metrics: Metrics,
    table: Mutex<Table>,
    /// Ports, by namespace, whose application sends first. The kernel has the same set; it drops a port when the
    /// listener closes.
    learned: RwLock<HashSet<(u64, u16)>>,
    open_ends: Mutex<OpenConnections>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Table {
    by_key: HashMap<DirectKey, Arc<Grant>>,
    /// Includes grants that were revoked recently.
    by_id: HashMap<u64, Arc<Grant>>,
    revoked: VecDeque<(Instant, u64)>,
    per_source: HashMap<u64, usize>,
    last_id: u64,
}

/// An endpoint of a grant, and what lets the source in there.
type Backend = (Endpoint, Arc<Workload>, Arc<AuthorizationLabels>);

/// Why a grant is revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    /// The configuration of its source or of a destination changed.
    Config,
    /// Its source or a destination is no longer served, or has moved.
    Membership,
    /// The endpoints of the address changed, or are no longer watched.
    Destination,
}

impl DirectConnections {
    /// Makes no grants before [`Self::start_granting`] is called.
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
        // Sockets may still refer to a predecessor's grants, so ids must differ from its ids.
        let generation = rand::random::<u32>() | 1;
        let last_id = u64::from(generation) << 32;
        let bypass = Arc::new(DirectConnections {
            mode,
            granting: AtomicBool::new(false),
            generation,
            capture,
            registry,
            discovery: discovery.clone(),
            authorizer,
            metrics,
            table: Mutex::new(Table { last_id, ..Table::default() }),
            learned: RwLock::default(),
            open_ends: Mutex::default(),
            counters,
        });
        let weak = Arc::downgrade(&bypass);
        discovery.on_change(Box::new(move |original| {
            if let Some(bypass) = weak.upgrade() {
                bypass.destination_changed(original);
            }
        }));
        bypass
    }

    /// Grants direct connections from `source` to `original`, if all conditions hold. Called after a connection has
    /// reached a workload of this node through the proxy.
    pub fn maybe_grant(&self, source: &Arc<Workload>, original: SocketAddr) {
        // First without the lock: most ports are not opaque.
        if self.backends(source, original).is_none() {
            return;
        }
        // The attached programs read this proxy's grants, and if the takeover failed, no proxy could revoke them.
        if !self.is_granting() {
            return;
        }
        let key = DirectKey { netns: source.netns.cookie(), to: original.into(), pad: 0 };
        let mut table = self.table.lock();
        if table.by_key.contains_key(&key) {
            return;
        }
        let Some(backends) = self.backends(source, original) else { return };
        let source_grants = table.per_source.get(&key.netns).copied().unwrap_or_default();
        if source_grants >= MAX_PER_SOURCE || table.by_key.len() >= MAX_GRANTS {
            self.counters.full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        table.last_id += 1;
        let id = table.last_id;
        let mut kernel_grant = DirectGrant { id, len: backends.len() as u32, ..DirectGrant::default() };
        for (slot, (endpoint, workload, _)) in kernel_grant.backends.iter_mut().zip(&backends) {
            let learned = !endpoint.opaque;
            *slot = DirectBackend {
                netns: workload.netns.cookie(),
                addr: endpoint.addr.into(),
                learned: learned.into(),
            };
        }
        let grant = Grant::new(&self.metrics, id, key, source, original, &backends);
        if let Err(error) = self.capture.grant(&key, &kernel_grant) {
            warn!(source = %source.key, %original, %error, "failed to grant direct connections in the kernel; they go through the proxy");
            self.counters.full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        debug!(source = %source.key, %original, backends = backends.len(), "direct connections granted");
        *table.per_source.entry(key.netns).or_default() += 1;
        let grant = Arc::new(grant);
        table.by_id.insert(id, grant.clone());
        table.by_key.insert(key, grant);
        self.counters.granted.fetch_add(1, Ordering::Relaxed);
        self.counters.grants.store(table.by_key.len() as u64, Ordering::Relaxed);
    }

    /// Treats the port of `workload` as opaque, because the application sent the first byte. `after` is the time from
    /// the connection to that byte.
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
            Err(error) => {
                debug!(workload = %workload.key, port, %error, "failed to record a port that sends first")
            }
        }
    }

    /// Revokes the grants from and to the workload after its configuration has changed, and terminates connections that
    /// it no longer allows.
    pub fn config_changed(self: &Arc<Self>, workload: &Arc<Workload>) {
        let revoked = self.revoke_all_of(workload, Cause::Config);
        self.revoke_for(workload, revoked);
    }

    /// Revokes the grants from and to a workload that has been removed from the registry.
    pub fn workload_removed(self: &Arc<Self>, workload: &Arc<Workload>) {
        let revoked = self.revoke_all_of(workload, Cause::Membership);
        self.revoke_for(workload, revoked);
    }

    fn revoke_all_of(&self, workload: &Workload, cause: Cause) -> Vec<Arc<Grant>> {
        let netns = workload.netns.cookie();
        self.learned.write().retain(|(port_netns, _)| *port_netns != netns);
        if let Err(error) = self.capture.clear_server_first_ports(netns) {
            warn!(workload = %workload.key, %error, "failed to clear the ports that send first; the kernel still treats them as opaque");
        }
        self.revoke(cause, |grant| grant.is_affected_by(netns))
    }

    fn destination_changed(&self, original: SocketAddr) {
        self.revoke(Cause::Destination, |grant| grant.original == original);
    }

    fn revoke(&self, cause: Cause, is_affected: impl Fn(&Grant) -> bool) -> Vec<Arc<Grant>> {
        let mut table = self.table.lock();
        let mut revoked: Vec<Arc<Grant>> =
            table.by_key.values().filter(|grant| is_affected(grant)).cloned().collect();
        revoked.retain(|grant| {
            if let Err(error) = self.capture.revoke(&grant.key, grant.id) {
                // The grant stays in the table and is revoked at the next change. The kernel also checks addresses.
                warn!(original = %grant.original, %error, "failed to revoke direct connections in the kernel; retrying at the next change");
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            table.by_key.remove(&grant.key);
            if let Some(grants) = table.per_source.get_mut(&grant.key.netns) {
                *grants -= 1;
                if *grants == 0 {
                    table.per_source.remove(&grant.key.netns);
                }
            }
            table.revoked.push_back((Instant::now(), grant.id));
            self.counters.revoked(cause).fetch_add(1, Ordering::Relaxed);
            true
        });
        self.counters.grants.store(table.by_key.len() as u64, Ordering::Relaxed);
        revoked
    }

    /// The endpoints of `original`, and what lets `source` in there, if it may connect to all of them directly.
    fn backends(&self, source: &Arc<Workload>, original: SocketAddr) -> Option<Vec<Backend>> {
        if !self.is_eligible(source) {
            return None;
        }
        let destination = self.discovery.known(original)?;
        let mut endpoints = match &*destination {
            Destination::External => return None,
            Destination::Endpoint(endpoint) => vec![endpoint.clone()],
            // Its requests are to be seen, whoever has spoken first elsewhere.
            Destination::Service { opaque: false, declared, .. } if declared.is_http() => return None,
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
        // The source may have left the mesh since it connected.
        let served = self.registry.at(SocketAddr::new(*source.ips.first()?, 0))?;
        if !Arc::ptr_eq(&served, source) {
            return None;
        }
        endpoints
            .drain(..)
            .map(|endpoint| {
                let workload = self.registry.at(endpoint.addr)?;
                let is_allowed = endpoint.weight == weight
                    && endpoint.addr.is_ipv6() == original.is_ipv6()
                    && endpoint.tls.as_ref().is_some_and(|tls| tls.identity == workload.identity)
                    && !Arc::ptr_eq(&workload, source)
                    && !workload.fast_open;
                let allowed = is_allowed.then(|| self.allows(source, &workload, &endpoint))??;
                Some((endpoint, workload, allowed))
            })
            .collect()
    }

    /// Whether the settings allow direct connections from and to the workload.
    fn is_eligible(&self, workload: &Workload) -> bool {
        let trusts_links = match self.mode {
            DirectPass::On => true,
            DirectPass::Auto => workload.isolated_links,
            DirectPass::Off => false,
        };
        trusts_links && workload.config().direct_pass
    }

    /// What lets `source` in, if it may connect directly.
    fn allows(
        &self,
        source: &Workload,
        workload: &Workload,
        endpoint: &Endpoint,
    ) -> Option<Arc<AuthorizationLabels>> {
        let port = endpoint.addr.port();
        let opaque = endpoint.opaque || self.learned.read().contains(&(workload.netns.cookie(), port));
        if !opaque || !self.is_eligible(workload) || workload.skips_inbound(port) {
            return None;
        }
        let client =
            Client { ip: source.address_like(endpoint.addr.ip())?, identity: Some(&source.identity) };
        self.authorizer.decide(workload, endpoint.addr, client).allowed().ok()
    }
}
