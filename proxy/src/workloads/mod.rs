//! Whom does this proxy serve?
//!
//! The control plane says which pods of the node are meshed; a keeper per pod finds its namespace, lets it join,
//! follows its changes and lets it leave. The registry holds those that are served now.

mod draining;
mod gate;
mod gone;
mod keeper;
mod lookup;
mod report;
mod serve;
mod spec;
mod watch;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch as channel};

pub use self::{
    draining::Draining,
    keeper::Keeper,
    lookup::NetnsFinder,
    report::{State, States},
    spec::{Spec, SpecError},
    watch::{Watch, WatchConfig},
};
use crate::{
    capture::{Netns, Stock},
    identity::{Credential, Identity, Lease},
    logging::Throttle,
    metrics::WorkloadLabels,
    policy::Policies,
    share::Share,
};

/// A pod that is served: everything that the data path needs to know of it.
pub struct Workload {
    /// Namespace and name.
    pub key: Key,
    /// Its identity.
    pub identity: Identity,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Its metric labels.
    pub labels: Arc<WorkloadLabels>,
    /// How much of what others bring about may be logged.
    pub throttle: Throttle,
    /// Sockets of its namespace.
    pub stock: Stock,
    /// Its applications may take TCP Fast Open connections (as of when it joined).
    pub fast_open: bool,
    /// No other pod is on its links (as of when it joined).
    pub links_of_its_own: bool,
    netns: Netns,
    lease: Lease,
    terms: channel::Sender<Arc<Terms>>,
    ended: channel::Sender<bool>,
    reseed: Notify,
    share: Arc<Share>,
    lost: Notify,
}

/// What of a workload can change while it is served.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Who may come in.
    pub policies: Policies,
    /// Without a proxy or control plane its connections go directly.
    pub fail_open: bool,
    /// Connections from and to it may go without the proxy where nothing is lost by it.
    pub direct_pass: bool,
    /// How long a connection of its own may take to open.
    pub outbound_connect_timeout: Duration,
    /// How long a connection to its application may take to open.
    pub inbound_connect_timeout: Duration,
    /// Ports on which it is reached directly.
    pub skip_inbound: Vec<weft_common::PortRange>,
    /// Ports of which its own connections may be spliced.
    pub splice: Vec<weft_common::PortRange>,
}

/// What a pod is called.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Workload {
    /// Its network namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// What holds now.
    pub fn terms(&self) -> Arc<Terms> {
        self.terms.borrow().clone()
    }

    /// Tells when that changes.
    pub fn terms_changed(&self) -> channel::Receiver<Arc<Terms>> {
        self.terms.subscribe()
    }

    /// Its certificate; waits for one that is valid up to `limit`.
    pub async fn credential(&self, limit: Duration) -> Option<Arc<Credential>> {
        if let Some(credential) = self.lease.current() {
            return Some(credential);
        }
        let _ = tokio::time::timeout(limit, self.lease.usable()).await;
        self.lease.current()
    }

    /// Its address of the family of `other`.
    pub fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        self.ips.iter().copied().find(|ip| ip.is_ipv6() == other.is_ipv6())
    }

    /// Whether a connection to `port` reaches its application without weft.
    pub fn skips_inbound(&self, port: u16) -> bool {
        self.terms.borrow().skip_inbound.iter().any(|range| (range.start..=range.end).contains(&port))
    }

    /// An application was not where the kernel's books have a listener: they are to be looked through.
    pub fn listeners_changed(&self) {
        self.reseed.notify_one();
    }

    /// Somebody in the pod destroyed a listener of the proxy's.
    fn listener_lost(&self) {
        self.lost.notify_one();
    }

    /// Resolves when the pod is gone and its connections are to be ended.
    pub async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as `self`.
        serve::turned(&mut ended).await;
    }
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workload").field("key", &self.key).field("ips", &self.ips).finish_non_exhaustive()
    }
}

/// The workloads that are served now.
#[derive(Default)]
pub struct Registry {
    by_ip: ArcSwap<HashMap<IpAddr, Arc<Workload>>>,
}

impl Registry {
    /// The workload that has this address, if it is served by this proxy.
    pub fn at(&self, addr: SocketAddr) -> Option<Arc<Workload>> {
        self.by_ip.load().get(&addr.ip()).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Workload>> {
        let mut all: Vec<_> = self.by_ip.load().values().cloned().collect();
        all.sort_by_key(|workload| workload.netns().cookie());
        all.dedup_by_key(|workload| workload.netns().cookie());
        all
    }

    fn add(&self, workload: &Arc<Workload>) {
        self.by_ip.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.extend(workload.ips.iter().map(|ip| (*ip, workload.clone())));
            map
        });
    }

    fn remove(&self, workload: &Arc<Workload>) {
        self.by_ip.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.retain(|_, served| !Arc::ptr_eq(served, workload));
            map
        });
    }
}
