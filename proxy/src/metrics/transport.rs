//! Counts the legs of TCP connections.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder},
    metrics::MetricType,
};

use super::{
    Limits,
    histogram::{Histogram, ROUND_TRIPS},
    intern::{Interner, Series},
    labels::{PathLabels, TransportLabels, With, label},
};
use crate::net::{Direction, Peer};

/// The counters of all connections with one set of labels.
#[derive(Debug, Default)]
pub struct Transport {
    opened: AtomicU64,
    /// Connections that are open now.
    open: AtomicU64,
    /// Bytes read from the peer.
    read: AtomicU64,
    /// Bytes written to the peer.
    written: AtomicU64,
    /// Connections that closed without an error.
    closed: AtomicU64,
    /// Connections by errno. Errors are rare enough for a lock.
    failed: Mutex<Vec<(&'static str, u64)>>,
    path: OnceLock<Arc<Path>>,
}

/// An open leg of a connection; counts as closed when it is dropped.
#[derive(Debug)]
pub struct OpenConn {
    transport: Arc<Transport>,
    errno: Option<&'static str>,
}

/// The kernel's round-trip times and retransmissions to a destination.
#[derive(Debug)]
pub(super) struct Path {
    rtt: Histogram,
    retransmits: AtomicU64,
}

impl Default for Path {
    fn default() -> Self {
        Self { rtt: Histogram::new(&ROUND_TRIPS), retransmits: AtomicU64::new(0) }
    }
}

/// All legs of all workloads.
#[derive(Debug)]
pub(super) struct Transports {
    legs: Interner<TransportLabels, Transport>,
    paths: Interner<PathLabels, Path>,
    /// Counts connections whose label set found no room, by direction and leg.
    overflow: [(Direction, Peer, Arc<Transport>); 4],
}

impl Transport {
    /// Counts bytes read from the peer.
    #[inline]
    pub fn read_bytes(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes written to the peer.
    #[inline]
    pub fn wrote_bytes(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a connection that was opened or accepted.
    pub fn open(self: &Arc<Self>) -> OpenConn {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenConn { transport: self.clone(), errno: None }
    }
}

impl OpenConn {
    /// Counts bytes read from the peer.
    #[inline]
    pub fn read(&self, bytes: u64) {
        self.transport.read_bytes(bytes);
    }

    /// Counts bytes written to the peer.
    #[inline]
    pub fn wrote(&self, bytes: u64) {
        self.transport.wrote_bytes(bytes);
    }

    pub fn transport(&self) -> &Arc<Transport> {
        &self.transport
    }

    /// Whether round-trip times and retransmissions are recorded: the leg is between pods.
    pub fn has_path(&self) -> bool {
        self.transport.path.get().is_some()
    }

    /// Records the kernel's round-trip time of the connection.
    pub fn rtt(&self, rtt: Duration) {
        if let Some(path) = self.transport.path.get() {
            path.rtt.observe(rtt);
        }
    }

    /// Counts segments that the kernel has retransmitted since the last call.
    pub fn retransmits(&self, segments: u64) {
        if let Some(path) = self.transport.path.get() {
            path.retransmits.fetch_add(segments, Ordering::Relaxed);
        }
    }

    /// Closes the leg, with the error if there was one (`ECONNRESET`, …).
    pub fn close(mut self, errno: Option<&'static str>) {
        self.errno = errno;
    }
}

impl Drop for OpenConn {
    fn drop(&mut self) {
        let transport = &self.transport;
        match self.errno {
            None => {
                transport.closed.fetch_add(1, Ordering::Relaxed);
            }
            Some(errno) => {
                let mut failed = transport.failed.lock();
                match failed.iter_mut().find(|(known, _)| *known == errno) {
                    Some((_, count)) => *count += 1,
                    None => failed.push((errno, 1)),
                }
            }
        }
        transport.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Series for Transport {
    fn fingerprint(&self) -> u64 {
        // These three cover every change of a series that no connection holds: a close is always preceded by an open.
        [&self.opened, &self.read, &self.written]
            .iter()
            .fold(0u64, |sum, counter| sum.wrapping_mul(31).wrapping_add(counter.load(Ordering::Relaxed)))
    }
}

impl Series for Path {
    fn fingerprint(&self) -> u64 {
        self.rtt.count().wrapping_mul(31).wrapping_add(self.retransmits.load(Ordering::Relaxed))
    }
}

impl Transports {
    pub(super) fn new(limits: &Limits) -> Self {
        let overflow = [
            (Direction::Inbound, Peer::Src),
            (Direction::Inbound, Peer::Dst),
            (Direction::Outbound, Peer::Src),
            (Direction::Outbound, Peer::Dst),
        ];
        Self {
            legs: Interner::new(limits.label_sets, limits.idle),
            paths: Interner::new(limits.label_sets / 8, limits.idle),
            overflow: overflow.map(|(direction, peer)| (direction, peer, Arc::default())),
        }
    }

    pub(super) fn get(&self, labels: &TransportLabels) -> Arc<Transport> {
        // An empty set of labels has the same text as none. Two such series would make the scrape invalid.
        let unlabelled = matches!(&labels.destination, Some(destination) if destination.is_empty())
            .then(|| TransportLabels { destination: None, ..labels.clone() });
        let labels = unlabelled.as_ref().unwrap_or(labels);
        let Some(transport) = self.legs.get(labels) else {
            let fits = |(direction, peer, _): &&(Direction, Peer, _)| {
                *direction == labels.direction && *peer == labels.peer
            };
            let (_, _, transport) = self.overflow.iter().find(fits).unwrap_or(&self.overflow[0]);
            return transport.clone();
        };
        // Round-trip times within a pod are not recorded.
        let between_pods = matches!(
            (labels.direction, labels.peer),
            (Direction::Inbound, Peer::Src) | (Direction::Outbound, Peer::Dst)
        );
        if between_pods && transport.path.get().is_none() {
            let key = PathLabels {
                direction: labels.direction,
                workload: labels.workload.clone(),
                destination: labels.destination.clone(),
            };
            if let Some(path) = self.paths.get(&key) {
                // Another connection may have set it meanwhile, to the same value.
                let _ = transport.path.set(path);
            }
        }
        transport
    }

    pub(super) fn overflow(&self) -> u64 {
        self.legs.overflow() + self.paths.overflow()
    }
}

// === encoding ===

impl Collector for Transports {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let legs = self.legs.snapshot();
        let counter = |get: fn(&Transport) -> &AtomicU64, family: &mut MetricEncoder<'_>| {
            self.each(&legs, |labels, transport| {
                family
                    .encode_family(labels)?
                    .encode_counter::<Labels<'_>, u64, u64>(&get(transport).load(Ordering::Relaxed), None)
            })
        };
        counter(|t| &t.opened, &mut describe(&mut encoder, "tcp_open", OPENED, MetricType::Counter)?)?;
        let mut family = describe(&mut encoder, "tcp_open_connections", OPEN, MetricType::Gauge)?;
        self.each(&legs, |labels, transport| {
            let open = i64::try_from(transport.open.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            family.encode_family(labels)?.encode_gauge(&open)
        })?;
        counter(|t| &t.read, &mut describe(&mut encoder, "tcp_read_bytes", READ, MetricType::Counter)?)?;
        counter(
            |t| &t.written,
            &mut describe(&mut encoder, "tcp_write_bytes", WRITTEN, MetricType::Counter)?,
        )?;
        let mut family = describe(&mut encoder, "tcp_close", CLOSED, MetricType::Counter)?;
        self.each(&legs, |labels, transport| {
            let mut closed = transport.failed.lock().clone();
            closed.insert(0, ("", transport.closed.load(Ordering::Relaxed)));
            closed.iter().filter(|(_, count)| *count > 0).try_for_each(|(errno, count)| {
                let labels = With(labels, ("errno", errno));
                family.encode_family(&labels)?.encode_counter::<With<'_, Labels<'_>>, u64, u64>(count, None)
            })
        })?;

        let paths = self.paths.snapshot();
        let mut family = describe(&mut encoder, "weft_tcp_rtt_seconds", RTT, MetricType::Histogram)?;
        for (labels, path) in &paths {
            path.rtt.encode(family.encode_family(&**labels)?)?;
        }
        let mut family = describe(&mut encoder, "weft_tcp_retransmits", RETRANSMITS, MetricType::Counter)?;
        for (labels, path) in &paths {
            let count = path.retransmits.load(Ordering::Relaxed);
            family.encode_family(&**labels)?.encode_counter::<PathLabels, u64, u64>(&count, None)?;
        }
        Ok(())
    }
}

impl Transports {
    fn each(
        &self,
        legs: &[(Arc<TransportLabels>, Arc<Transport>)],
        mut write: impl FnMut(&Labels<'_>, &Transport) -> fmt::Result,
    ) -> fmt::Result {
        for (labels, transport) in legs {
            write(&Labels::Known(labels), transport)?;
        }
        for (direction, peer, transport) in &self.overflow {
            if transport.opened.load(Ordering::Relaxed) > 0 {
                write(&Labels::Overflow(*direction, *peer), transport)?;
            }
        }
        Ok(())
    }
}

/// The labels of a leg, or of the legs whose label sets found no room.
enum Labels<'a> {
    Known(&'a TransportLabels),
    Overflow(Direction, Peer),
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        match self {
            Self::Known(labels) => labels.encode(out),
            Self::Overflow(direction, peer) => {
                label(out, "direction", direction.as_str())?;
                label(out, "peer", peer.as_str())?;
                label(out, "overflow", "true")
            }
        }
    }
}

pub(super) fn describe<'s>(
    encoder: &'s mut DescriptorEncoder<'_>,
    name: &'s str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'s>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, kind)
}

const OPENED: &str = "Total count of opened connections.";
const OPEN: &str = "Number of currently open connections.";
const READ: &str = "Total count of bytes read from peers.";
const WRITTEN: &str = "Total count of bytes written to peers.";
const CLOSED: &str = "Total count of closed connections.";
const RTT: &str = "Round-trip times of connections between pods, as measured by the kernel.";
const RETRANSMITS: &str = "Segments that the kernel retransmitted.";
