//! Splices connections of ports that opted in: the kernel moves their bytes without the proxy.
//!
//! Ports opt in by the annotation `config.weft.dev/splice-ports`, on both workloads or on the service. The proxy
//! accepts, authorizes and forwards such a connection like any other. It also tells the kernel which sockets belong
//! together. The kernel then moves what it can, and the proxy relays the rest.
#![forbid(unsafe_code)]

mod local;
mod metrics;
mod remote;

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tracing::{error, warn};
use weft_api::node as api;
use weft_common::{PortRange, PortRanges, SplicePorts};

pub use self::{
    local::{LocalSplice, LocalSpliceGuard},
    metrics::SpliceCollector,
    remote::RemoteSplice,
};
use crate::capture::Capture;

/// The pause between searches for splices of dead proxies.
const SWEEP_INTERVAL: Duration = Duration::from_secs(20);

/// The ports of the mesh that opted in, and the spliced connections.
pub struct Splicing {
    capture: Arc<Capture>,
    targets: ArcSwap<HashMap<IpAddr, SplicePorts>>,
    open: Mutex<HashMap<u64, Weak<LocalSplice>>>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    /// Spliced connections between workloads of this node.
    local: AtomicU64,
    /// Connections to and from other nodes that were spliced between application and proxy.
    remote: AtomicU64,
    /// Connections to and from other nodes whose application had closed its half before.
    half_closed: AtomicU64,
    /// Connections that opted in but found a map full.
    full: AtomicU64,
    /// Bytes that the kernel has moved from application to application.
    bytes: AtomicU64,
}

impl Splicing {
    pub fn new(capture: Arc<Capture>) -> Arc<Self> {
        Arc::new(Splicing {
            capture,
            targets: ArcSwap::default(),
            open: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// Removes splices of dead proxies from the kernel's maps, periodically. An entry is removed when two searches in a
    /// row have found it.
    pub async fn sweep(self: Arc<Self>) {
        let mut candidates = HashSet::new();
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            let (splicing, last) = (self.clone(), std::mem::take(&mut candidates));
            match spawn_blocking(move || splicing.capture.splice().remove_unused(&last)).await {
                Ok(Ok(found)) => candidates = found,
                Ok(Err(error)) => {
                    error!(%error, "failed to remove splices of dead proxies; they stay in the kernel's maps")
                }
                Err(error) => error!(%error, "failed to search for splices of dead proxies"),
            }
        }
    }

    /// Replaces the ports that opted in.
    pub fn set_targets(&self, splice: api::Splice) {
        let targets: HashMap<IpAddr, SplicePorts> = splice.addresses.iter().filter_map(ports_of).collect();
        if targets == **self.targets.load() {
            return;
        }
        if let Err(error) = tokio::task::block_in_place(|| self.capture.set_splice_targets(&targets)) {
            error!(%error, "failed to set all ports that opted in to splicing; connections to the others are relayed");
        }
        self.targets.store(Arc::new(targets));
    }

    /// Whether a connection to `dialled` that goes to `endpoint` may be spliced. `source` are the ports for which its
    /// source opted in.
    pub fn allows(&self, source: &[PortRange], dialled: SocketAddr, endpoint: SocketAddr) -> bool {
        let targets = self.targets.load();
        let by_service = |to: SocketAddr| {
            targets.get(&to.ip()).is_some_and(|ports| ports.by_service.contains(to.port().into()))
        };
        let by_source = || source.iter().any(|range| (range.start..=range.end).contains(&dialled.port()));
        let by_workloads = || {
            targets.get(&endpoint.ip()).is_some_and(|ports| ports.allow(endpoint.port().into(), by_source))
        };
        self.capture.splice().off().is_none() && (by_service(dialled) || by_workloads())
    }

    /// Whether a connection from the workload at `client` on another node to `target` on this one may be spliced
    /// between proxy and application. The port that the client dialled is not known here, so the source must have opted
    /// in for the target's.
    pub fn allows_from(&self, client: IpAddr, target: SocketAddr) -> bool {
        let targets = self.targets.load();
        let port = target.port().into();
        let source = || targets.get(&client).is_some_and(|ports| ports.with_source.contains(port));
        self.off().is_none() && targets.get(&target.ip()).is_some_and(|ports| ports.allow(port, source))
    }

    /// Why splicing is off; `None` if it is on.
    pub fn off(&self) -> Option<String> {
        self.capture.splice().off()
    }

    /// Counts the bytes that the kernel has moved since the last call. Called before metrics are read, so that they are
    /// exact.
    pub fn account(&self) {
        let open: Vec<Arc<LocalSplice>> = self.open.lock().values().filter_map(Weak::upgrade).collect();
        for splice in open {
            splice.account();
        }
    }

    fn opened(&self, cookie: u64, splice: &Arc<LocalSplice>) {
        self.counters.local.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(cookie, Arc::downgrade(splice));
    }

    fn closed(&self, cookie: u64) {
        self.open.lock().remove(&cookie);
    }
}

fn ports_of(address: &api::SpliceAddress) -> Option<(IpAddr, SplicePorts)> {
    let Ok(ip) = address.ip.parse::<IpAddr>() else {
        warn!(ip = address.ip, "invalid address; its ports are not spliced");
        return None;
    };
    let ranges = |list: &[api::PortRange]| {
        let port = |port: u32| u16::try_from(port).ok();
        let range =
            |range: &api::PortRange| Some(PortRange { start: port(range.start)?, end: port(range.end)? });
        let mut all: Vec<PortRange> = list.iter().filter_map(range).collect();
        if all.len() > PortRanges::MAX {
            warn!(%ip, ranges = all.len(), most = PortRanges::MAX, "too many port ranges opted in to splicing; the last ones are relayed");
            all.truncate(PortRanges::MAX);
        }
        PortRanges::new(&all).unwrap_or_default()
    };
    Some((
        ip,
        SplicePorts { with_source: ranges(&address.with_source), by_service: ranges(&address.by_service) },
    ))
}
