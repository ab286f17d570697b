//! Exports the programs' counters as metrics.

use std::sync::Weak;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use weft_common::Outcome;

use super::Capture;

/// Counters and fill levels of the kernel side.
#[derive(Clone, Debug)]
pub struct Outcomes {
    pub(super) counts: Vec<u64>,
    /// Workloads in the kernel's map.
    pub workloads: u64,
    /// Addresses in the kernel's map.
    pub addresses: u64,
    /// Listening addresses that sockops follows.
    pub listeners: u64,
    /// Listening addresses found by sock_diag.
    pub seeded: u64,
}

impl Outcomes {
    /// How often the programs decided so.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.counts.get(outcome as usize).copied().unwrap_or(0)
    }
}

/// Reads the kernel's counters when metrics are scraped.
#[derive(Debug)]
pub struct OutcomeCollector(pub Weak<Capture>);

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Collector for OutcomeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(capture) = self.0.upgrade() else { return Ok(()) };
        let outcomes = capture.outcomes();
        let counter = ConstCounter::new(0u64);
        let mut family = encoder.encode_descriptor(
            "weft_capture",
            "Decisions of the eBPF programs on connections of workloads",
            None,
            counter.metric_type(),
        )?;
        for (outcome, hook, name) in Outcome::ALL {
            let labels = [("hook", *hook), ("outcome", *name)];
            ConstCounter::new(outcomes.count(*outcome)).encode(family.encode_family(&labels)?)?;
        }
        let gauge = ConstGauge::new(0i64);
        let mut family = encoder.encode_descriptor(
            "weft_capture_map_entries",
            "Entries in the eBPF programs' maps",
            None,
            gauge.metric_type(),
        )?;
        let maps = [
            ("workloads", outcomes.workloads),
            ("addresses", outcomes.addresses),
            ("listeners", outcomes.listeners),
            ("seeded", outcomes.seeded),
        ];
        for (map, entries) in maps {
            ConstGauge::new(entries as i64).encode(family.encode_family(&[("map", map)])?)?;
        }
        Ok(())
    }
}
