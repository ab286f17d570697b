//! Closes the connections that a pod had before it was enrolled, so that the application opens new ones.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{
    capture::{Caution, EarlierConnections},
    workload::Key,
};

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// For this long a connection is closed only after an answer.
const CAUTIOUS: Duration = Duration::from_secs(10);
/// After this long the rest is left open: they are never quiet, as a long download.
const GIVE_UP: Duration = Duration::from_secs(60);

/// What became of these connections, for all pods together.
#[derive(Debug, Default)]
pub struct EarlierMetrics {
    open: AtomicI64,
    closed: AtomicU64,
}

/// Connections that count as open until they are known not to be.
struct Counted {
    metrics: Arc<EarlierMetrics>,
    open: usize,
}

/// Closes them one by one, whenever one seems to be between two requests. Ends when none is left, or after a minute; the
/// last ones then stay counted until this is dropped.
pub(super) async fn close(key: Key, mut connections: EarlierConnections, metrics: Arc<EarlierMetrics>) {
    let (started, found) = (Instant::now(), connections.len());
    let mut counted = Counted { metrics, open: 0 };
    counted.set(found);
    let mut closed = 0;
    while !connections.is_empty() && started.elapsed() < GIVE_UP {
        sleep(POLL_INTERVAL).await;
        let caution = if started.elapsed() < CAUTIOUS { Caution::Answered } else { Caution::Quiet };
        match tokio::task::block_in_place(|| connections.close(caution)) {
            Ok(now) => {
                closed += now;
                counted.closed(now);
                counted.set(connections.len());
            }
            Err(error) => {
                warn!(workload = %key, %error, open = connections.len(), "failed to close connections that are older than the pod's enrollment: they stay unencrypted until they end");
                break;
            }
        }
    }
    if found > 0 {
        info!(workload = %key, found, closed, open = connections.len(), "looked after connections that are older than the pod's enrollment");
    }
    if !connections.is_empty() {
        std::future::pending().await
    }
}

/// Closes them at once: the pod's policy demands it.
pub(super) fn close_now(key: &Key, mut connections: EarlierConnections, metrics: &EarlierMetrics) {
    match connections.close(Caution::None) {
        Ok(closed) => {
            metrics.closed.fetch_add(closed as u64, Ordering::Relaxed);
            if closed > 0 {
                info!(workload = %key, closed, "closed connections that are older than the pod's enrollment: its policy requires the proxy");
            }
        }
        Err(error) => {
            warn!(workload = %key, %error, open = connections.len(), "failed to close connections that are older than the pod's enrollment, although its policy requires the proxy");
        }
    }
}

impl Counted {
    fn set(&mut self, open: usize) {
        self.metrics.open.fetch_add(open as i64 - self.open as i64, Ordering::Relaxed);
        self.open = open;
    }

    fn closed(&self, count: usize) {
        self.metrics.closed.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The families `weft_earlier_connections_…`.
#[derive(Debug)]
pub struct EarlierCollector(pub Arc<EarlierMetrics>);

impl Collector for EarlierCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Open connections that are older than their pod's enrollment.";
        let open =
            encoder.encode_descriptor("weft_earlier_connections_open", help, None, MetricType::Gauge)?;
        ConstGauge::new(self.0.open.load(Ordering::Relaxed)).encode(open)?;
        let help = "Connections that were closed because they were older than their pod's enrollment.";
        let closed =
            encoder.encode_descriptor("weft_earlier_connections_closed", help, None, MetricType::Counter)?;
        ConstCounter::new(self.0.closed.load(Ordering::Relaxed)).encode(closed)
    }
}
