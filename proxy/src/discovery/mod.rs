//! Looks up what is behind an address, and follows its changes.
//!
//! Each original destination is looked up once at the control plane and watched from then on, so a known one costs a
//! map lookup. While the control plane is away, the last answer stays in use. Destinations that are no longer used are
//! dropped.
#![forbid(unsafe_code)]

mod control;
mod destination;
mod entry;
mod metrics;
mod published;
mod table;
mod translate;
mod watch;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

pub use self::destination::{Destination, DiscoveryError, ServiceEndpoints};
use self::{
    control::ControlPlane,
    entry::Entry,
    metrics::{Counters, DiscoveryMetrics},
    published::LookupState,
    table::Table,
};
pub use crate::balance::{Endpoint, EndpointTls};
use crate::{control::Client, metrics::Metrics};

/// How destinations are looked up and kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name: the control plane prefers endpoints near it.
    pub node: String,
    /// How long an unused destination is kept.
    pub idle: Duration,
    /// The maximum number of watched destinations.
    pub max_entries: usize,
    /// How long a connection waits for a destination that is not known yet.
    pub lookup_timeout: Duration,
    /// How long a connection waits while the control plane is known to be away.
    pub away_timeout: Duration,
    /// How long an inbound connection waits for the answer whether its client is meshed.
    pub peer_timeout: Duration,
    /// The pause before a failed watch is restarted; doubled each time.
    pub min_backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
}

/// The workload that looks up a destination, for log lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceRef {
    pub namespace: String,
    pub pod: String,
}

/// Destinations, looked up and watched.
pub struct Discovery {
    table: Table,
    config: Arc<Config>,
    control: Arc<ControlPlane>,
    base: Instant,
    counters: Arc<Counters>,
    changes: Arc<Changes>,
}

/// The callback for changed destinations.
#[derive(Default)]
struct Changes(OnceLock<OnChange>);

/// Called with an original destination after it has changed or is no longer watched; from any thread.
pub type OnChange = Box<dyn Fn(SocketAddr) + Send + Sync>;

impl Changes {
    fn notify(&self, dst: SocketAddr) {
        if let Some(callback) = self.0.get() {
            callback(dst);
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}

impl Discovery {
    /// Starts without any destination. Must be called within a tokio runtime.
    pub fn new(channel: Client, config: Config, metrics: &Metrics) -> Arc<Self> {
        let config = Arc::new(config);
        let counters = Arc::<Counters>::default();
        let control = Arc::new(ControlPlane::new(channel, &config.node));
        metrics.register_collector(Box::new(DiscoveryMetrics(counters.clone(), control.clone())));
        let table = Table::new(config.max_entries);
        let changes = Arc::default();
        Arc::new(Self { table, config, control, base: Instant::now(), counters, changes })
    }

    /// Sets the callback for changes. Only the first call has an effect.
    pub fn on_change(&self, callback: OnChange) {
        let _ = self.changes.0.set(callback);
    }

    /// Returns what is behind `dst`: at once if it is known, otherwise within the lookup timeout.
    pub async fn resolve(
        &self,
        dst: SocketAddr,
        source: &SourceRef,
    ) -> Result<Arc<Destination>, DiscoveryError> {
        if let Some(known) = self.known(dst) {
            return Ok(known);
        }
        tracing::debug!(%source, %dst, "destination is not known yet");
        self.look_up(canonical(dst), self.config.lookup_timeout).await
    }

    /// The answer for `dst`, if it is known.
    pub fn known(&self, dst: SocketAddr) -> Option<Arc<Destination>> {
        let entry = self.table.get(canonical(dst))?;
        entry.touch(self.now());
        entry.current()
    }

    /// Whether `peer` is meshed; `None` if there is no answer in time.
    ///
    /// This is for inbound connections whose client sends nothing: a meshed client would send first.
    pub async fn peer_is_meshed(&self, peer: SocketAddr) -> Option<bool> {
        // The client's port is different each time; whether the pod is meshed does not depend on it.
        let dst = SocketAddr::new(canonical(peer).ip(), PEER_PORT);
        let destination = match self.known(dst) {
            Some(known) => known,
            None => self.look_up(dst, self.config.peer_timeout).await.ok()?,
        };
        Some(match &*destination {
            Destination::Endpoint(endpoint) => endpoint.tls.is_some(),
            Destination::Service { .. } | Destination::External => false,
        })
    }

    /// What is known of all destinations, for metrics.
    pub fn all(&self) -> Vec<Arc<Destination>> {
        self.table.current()
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    async fn look_up(&self, dst: SocketAddr, limit: Duration) -> Result<Arc<Destination>, DiscoveryError> {
        let entry = self.entry(dst)?;
        let mut state = entry.state();
        let away = match &*state.borrow() {
            LookupState::Failing { since, .. } => since.elapsed() > self.config.lookup_timeout,
            LookupState::Asking(_) => false,
        };
        // Connections must not pile up behind a control plane that has been away for long.
        let limit = if away { limit.min(self.config.away_timeout) } else { limit };
        entry.reconnect_now();
        // The entry is held here, so the state's sender cannot be dropped while this waits.
        let _ = tokio::time::timeout(limit, state.wait_for(|_| entry.current().is_some())).await;
        if let Some(current) = entry.current() {
            return Ok(current);
        }
        self.counters.timeouts.inc();
        Err(match &*entry.state().borrow() {
            LookupState::Failing { call, reason, .. } => {
                DiscoveryError::Unavailable { dst, call, reason: reason.clone(), after: limit }
            }
            LookupState::Asking(call) => DiscoveryError::Timeout { dst, call, after: limit },
        })
    }

    /// The entry for `dst`, created if there is none.
    fn entry(&self, dst: SocketAddr) -> Result<Arc<Entry>, DiscoveryError> {
        let now = self.now();
        let (entry, evicted) = self
            .table
            .get_or_insert(dst, now, || {
                self.counters.lookups.inc();
                let (control, config, changes) =
                    (self.control.clone(), self.config.clone(), self.changes.clone());
                Entry::watch(dst, now, control, config, changes)
            })
            .ok_or_else(|| {
                self.counters.refusals.inc();
                DiscoveryError::Full { dst, limit: self.config.max_entries }
            })?;
        entry.touch(now);
        self.counters.evictions.inc_by(evicted.len() as u64);
        evicted.into_iter().for_each(|dst| self.changes.notify(dst));
        self.count_destinations();
        Ok(entry)
    }

    /// Milliseconds on the entries' clock.
    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn count_destinations(&self) {
        self.counters.destinations.store(self.table.len() as u64, Ordering::Relaxed);
    }
}

/// Drops destinations that are not used any more, until the discovery itself is dropped.
pub async fn drop_idle(discovery: Weak<Discovery>) {
    loop {
        let Some(pause) = discovery.upgrade().map(|discovery| discovery.config.idle / 10) else { return };
        tokio::time::sleep(pause.clamp(Duration::from_millis(10), Duration::from_secs(60))).await;
        let Some(discovery) = discovery.upgrade() else { return };
        let idle = u64::try_from(discovery.config.idle.as_millis()).unwrap_or(u64::MAX);
        let dropped = discovery.table.drop_idle(discovery.now(), idle);
        dropped.into_iter().for_each(|dst| discovery.changes.notify(dst));
        discovery.count_destinations();
    }
}

impl Config {
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            idle: Duration::from_secs(600),
            max_entries: 10_000,
            lookup_timeout: Duration::from_secs(3),
            away_timeout: Duration::from_millis(250),
            peer_timeout: Duration::from_millis(250),
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
        }
    }
}

impl fmt::Display for SourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.pod)
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("config", &self.config).field("entries", &self.len()).finish()
    }
}

/// One key per address: IPv4-mapped addresses as IPv4, no flow label or scope.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// A port that is not in use and in no annotation, to look up a pod as such.
const PEER_PORT: u16 = 1;

#[cfg(test)]
mod tests;
