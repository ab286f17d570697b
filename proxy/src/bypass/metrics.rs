//! The counters of grants and direct connections.

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
    /// Passes in force.
    pub(super) passes: AtomicU64,
    pub(super) granted: AtomicU64,
    revoked: [AtomicU64; 3],
    /// There was no room for a pass.
    pub(super) full: AtomicU64,
    /// The kernel did not take a withdrawal.
    pub(super) failed: AtomicU64,
    /// Ends of connections that are open.
    pub(super) open: [AtomicU64; 2],
    /// Connections established, by end.
    pub(super) opened: [AtomicU64; 2],
    /// Ends that closed of connections that this proxy did not see open, or has no pass of.
    pub(super) unattributed: AtomicU64,
    /// Ends whose close was not told.
    pub(super) missed: AtomicU64,
    pub(super) terminated: AtomicU64,
    pub(super) not_terminated: AtomicU64,
}

impl Counters {
    pub(super) fn revoked(&self, cause: Cause) -> &AtomicU64 {
        &self.revoked[cause as usize]
    }
}

/// [`Figures`] for a scrape.
#[derive(Debug)]
pub(super) struct BypassMetrics(pub(super) Arc<Counters>);

impl Collector for BypassMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counters = &*self.0;
        let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));

        let name = "weft_direct_passes";
        let help = "Pairs of a workload and an address whose connections go directly.";
        gauge(get(&counters.passes)).encode(encoder.encode_descriptor(
            name,
            help,
            None,
            MetricType::Gauge,
        )?)?;

        let name = "weft_direct_pass_changes";
        let help = "Passes granted and withdrawn, and those that could not be.";
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
        let help = "Ends of direct connections that are open, as far as this proxy saw them open.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (side, open) in SIDES.iter().zip(&counters.open) {
            gauge(get(open)).encode(family.encode_family(&[("side", *side)])?)?;
        }
        let name = "weft_direct_connections";
        let help = "Ends of direct connections that were established.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (side, opened) in SIDES.iter().zip(&counters.opened) {
            ConstCounter::new(get(opened)).encode(family.encode_family(&[("side", *side)])?)?;
        }

        let name = "weft_direct_untold";
        let help = "Ends of direct connections whose figures are not among those of tcp_*.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (reason, count) in [("unknown", &counters.unattributed), ("missed_close", &counters.missed)] {
            ConstCounter::new(get(count)).encode(family.encode_family(&[("reason", reason)])?)?;
        }

        let name = "weft_direct_terminated";
        let help = "Open direct connections that were to be ended, and whether they could be.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (result, count) in [("ended", &counters.terminated), ("failed", &counters.not_terminated)] {
            ConstCounter::new(get(count)).encode(family.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}

/// In the order of `DirectSocket`'s flags.
const SIDES: [&str; 2] = ["source", "destination"];
