//! Metrics of bypass grants and direct connections.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::Cause;

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Grants in force.
    pub(super) grants: AtomicU64,
    pub(super) granted: AtomicU64,
    revoked: [AtomicU64; 3],
    /// Grants that there was no room for.
    pub(super) full: AtomicU64,
    /// Revocations that failed in the kernel.
    pub(super) failed: AtomicU64,
    /// Open ends of connections, by end.
    pub(super) open: [AtomicU64; 2],
    /// Connections established, by end.
    pub(super) opened: [AtomicU64; 2],
    /// Closed ends whose grant is not known.
    pub(super) unattributed: AtomicU64,
    /// Ends whose closing event was lost.
    pub(super) missed: AtomicU64,
    pub(super) terminated: AtomicU64,
    pub(super) not_terminated: AtomicU64,
}

impl Counters {
    pub(super) fn revoked(&self, cause: Cause) -> &AtomicU64 {
        &self.revoked[cause as usize]
    }
}

/// Exports [`Counters`].
#[derive(Debug)]
pub(super) struct BypassMetrics(pub(super) Arc<Counters>);

impl Collector for BypassMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counters = &*self.0;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));

        let name = "weft_direct_passes";
        let help =
            "Bypass grants in force: pairs of a workload and an address whose connections bypass the proxy.";
        gauge(get(&counters.grants)).encode(encoder.encode_descriptor(
            name,
            help,
            None,
            MetricType::Gauge,
        )?)?;

        let name = "weft_direct_pass_changes";
        let help = "Bypass grants granted and revoked, and failures to do so, by change.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        let changes = [
            ("granted", &counters.granted),
            ("withdrawn_terms", counters.revoked(Cause::Config)),
            ("withdrawn_membership", counters.revoked(Cause::Membership)),
            ("withdrawn_destination", counters.revoked(Cause::Destination)),
            ("full", &counters.full),
            ("failed", &counters.failed),
        ];
        for (change, count) in changes {
            ConstCounter::new(get(count)).encode(family.encode_family(&[("change", change)])?)?;
        }

        let name = "weft_direct_connections_open";
        let help = "Open ends of direct connections whose opening this proxy saw.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (side, open) in SIDES.iter().zip(&counters.open) {
            gauge(get(open)).encode(family.encode_family(&[("side", *side)])?)?;
        }
        let name = "weft_direct_connections";
        let help = "Established ends of direct connections.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (side, opened) in SIDES.iter().zip(&counters.opened) {
            ConstCounter::new(get(opened)).encode(family.encode_family(&[("side", *side)])?)?;
        }

        let name = "weft_direct_untold";
        let help = "Closed ends of direct connections that are missing in the tcp_* metrics.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (reason, count) in [("unknown", &counters.unattributed), ("missed_close", &counters.missed)] {
            ConstCounter::new(get(count)).encode(family.encode_family(&[("reason", reason)])?)?;
        }

        let name = "weft_direct_terminated";
        let help = "Open direct connections that had to be terminated, by result.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (result, count) in [("ended", &counters.terminated), ("failed", &counters.not_terminated)] {
            ConstCounter::new(get(count)).encode(family.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}

/// In the order of `DirectSocket`'s flags.
const SIDES: [&str; 2] = ["source", "destination"];
