//! What does discovery tell of itself?

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
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        gauge::ConstGauge,
    },
};

use super::control::ControlPlane;

/// What discovery itself counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) destinations: AtomicU64,
    pub(super) lookups: Counter,
    pub(super) timeouts: Counter,
    pub(super) evictions: Counter,
    pub(super) refusals: Counter,
}

/// The families `weft_discovery_*`.
#[derive(Debug)]
pub(super) struct DiscoveryMetrics(pub(super) Arc<Counters>, pub(super) Arc<ControlPlane>);

impl Collector for DiscoveryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(counters, control) = self;
        for (name, help, value) in [
            (
                "weft_discovery_destinations",
                "Number of destinations that are watched.",
                i64::try_from(counters.destinations.load(Ordering::Relaxed)).unwrap_or(i64::MAX),
            ),
            (
                "weft_discovery_control_plane_connected",
                "Whether the last message of a watch was an answer (1) or an error (0).",
                i64::from(!control.is_away()),
            ),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        for (name, help, count) in [
            ("weft_discovery_lookups", "Destinations that were asked for first.", counters.lookups.get()),
            (
                "weft_discovery_lookup_timeouts",
                "Lookups that were not answered in time.",
                counters.timeouts.get(),
            ),
            (
                "weft_discovery_evictions",
                "Destinations that were forgotten to make room.",
                counters.evictions.get(),
            ),
            ("weft_discovery_refusals", "Destinations that there was no room for.", counters.refusals.get()),
            (
                "weft_discovery_watch_failures",
                "Watches that ended and were taken up again.",
                control.failures(),
            ),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(metric)?;
        }
        Ok(())
    }
}
