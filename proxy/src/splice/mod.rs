//! Splices connections in the kernel, where their port opted in.
//!
//! The annotation is `config.weft.dev/splice-ports`, on both workloads or on the service. The proxy accepts, authorizes
//! and forwards such a connection like any other. It also tells the kernel which sockets belong together, and the
//! kernel then moves what it can by itself. Correctness never depends on it.
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

/// Between looks for what dead proxies left.
const SWEEP: Duration = Duration::from_secs(20);

/// What of the mesh opted in, and the connections for which that holds.
pub struct Splicing {
    capture: Arc<Capture>,
    targets: ArcSwap<HashMap<IpAddr, SplicePorts>>,
    open: Mutex<HashMap<u64, Weak<LocalSplice>>>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    /// Connections for which the kernel was told the way.
    spliced: AtomicU64,
    /// Connections that go to another node and whose way to the proxy was made short.
    hops: AtomicU64,
    /// Connections to and from other nodes whose application had ended its half before.
    late: AtomicU64,
    /// Connections that opted in and for which there was no room.
    full: AtomicU64,
    /// Bytes that the kernel has moved from application to application.
    bytes: AtomicU64,
}

impl Splicing {
    /// Nobody has opted in yet.
    pub fn new(capture: Arc<Capture>) -> Arc<Self> {
        Arc::new(Splicing {
            capture,
            targets: ArcSwap::default(),
            open: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// Forgets what proxies that died have left, as it turns out to be of use to nobody; for ever.
    pub async fn sweep(self: Arc<Self>) {
        let mut suspects = HashSet::new();
        loop {
            tokio::time::sleep(SWEEP).await;
            let (splicing, last) = (self.clone(), std::mem::take(&mut suspects));
            match spawn_blocking(move || splicing.capture.splice().forget_the_dead(&last)).await {
                Ok(Ok(found)) => suspects = found,
                Ok(Err(error)) => error!(%error, "what dead proxies spliced is still in the kernel's books"),
                Err(error) => error!(%error, "what dead proxies spliced was not looked for"),
            }
        }
    }

    /// Makes these all that opted in.
    pub fn set_targets(&self, splice: api::Splice) {
        let targets: HashMap<IpAddr, SplicePorts> = splice.addresses.iter().filter_map(ports_of).collect();
        if targets == **self.targets.load() {
            return;
        }
        if let Err(error) = tokio::task::block_in_place(|| self.capture.set_splice_targets(&targets)) {
            error!(%error, "the kernel was not told of all ports that opted in to splicing");
        }
        self.targets.store(Arc::new(targets));
    }

    /// Whether a connection to `dialled` that goes to `endpoint` may be spliced, its source having opted in for
    /// the ports `source`.
    pub fn allows(&self, source: &[PortRange], dialled: SocketAddr, endpoint: SocketAddr) -> bool {
        let targets = self.targets.load();
        let by_service = |to: SocketAddr| {
            targets.get(&to.ip()).is_some_and(|ports| ports.by_service.contains(to.port().into()))
        };
        let own = || source.iter().any(|range| (range.start..=range.end).contains(&dialled.port()));
        let of_workload =
            || targets.get(&endpoint.ip()).is_some_and(|ports| ports.allow(endpoint.port().into(), own));
        self.capture.splice().off().is_none() && (by_service(dialled) || of_workload())
    }

    /// Whether a connection from another node, of the workload at `client`, to `target` here may have a short way
    /// to the application. The port that was dialled is not known here: the source must have opted in for this one.
    pub fn allows_from(&self, client: IpAddr, target: SocketAddr) -> bool {
        let targets = self.targets.load();
        let port = target.port().into();
        let source = || targets.get(&client).is_some_and(|ports| ports.with_source.contains(port));
        self.off().is_none() && targets.get(&target.ip()).is_some_and(|ports| ports.allow(port, source))
    }

    /// Why nothing is spliced; `None`: what opts in is.
    pub fn off(&self) -> Option<String> {
        self.capture.splice().off()
    }

    /// Counts what the kernel has moved since the last time, so that metrics that are about to be read are exact.
    pub fn account(&self) {
        let open: Vec<Arc<LocalSplice>> = self.open.lock().values().filter_map(Weak::upgrade).collect();
        for splice in open {
            splice.account();
        }
    }

    fn opened(&self, cookie: u64, splice: &Arc<LocalSplice>) {
        self.counters.spliced.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(cookie, Arc::downgrade(splice));
    }

    fn closed(&self, cookie: u64) {
        self.open.lock().remove(&cookie);
    }
}

fn ports_of(address: &api::SpliceAddress) -> Option<(IpAddr, SplicePorts)> {
    let Ok(ip) = address.ip.parse::<IpAddr>() else {
        warn!(ip = address.ip, "not an address; what opted in there is not spliced");
        return None;
    };
    let ranges = |list: &[api::PortRange]| {
        let port = |port: u32| u16::try_from(port).ok();
        let range =
            |range: &api::PortRange| Some(PortRange { start: port(range.start)?, end: port(range.end)? });
        let mut all: Vec<PortRange> = list.iter().filter_map(range).collect();
        if all.len() > PortRanges::MAX {
            warn!(%ip, ranges = all.len(), most = PortRanges::MAX, "too many ports opted in to splicing; the last ones are relayed");
            all.truncate(PortRanges::MAX);
        }
        PortRanges::new(&all).unwrap_or_default()
    };
    Some((
        ip,
        SplicePorts { with_source: ranges(&address.with_source), by_service: ranges(&address.by_service) },
    ))
}
