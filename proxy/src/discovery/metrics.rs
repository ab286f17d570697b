//! Metrics of discovery.

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
                "Number of watched destinations.",
                i64::try_from(counters.destinations.load(Ordering::Relaxed)).unwrap_or(i64::MAX),
            ),
            (
                "weft_discovery_control_plane_connected",
                "Whether the last result of a watch was an answer (1) or an error (0).",
                i64::from(!control.is_away()),
            ),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        for (name, help, count) in [
            (
                "weft_discovery_lookups",
                "Destinations that were looked up for the first time.",
                counters.lookups.get(),
            ),
            ("weft_discovery_lookup_timeouts", "Lookups without an answer in time.", counters.timeouts.get()),
            (
                "weft_discovery_evictions",
                "Destinations that were dropped to make room.",
                counters.evictions.get(),
            ),
            (
                "weft_discovery_refusals",
                "Destinations that were refused for lack of room.",
                counters.refusals.get(),
            ),
            ("weft_discovery_watch_failures", "Watches that ended and were restarted.", control.failures()),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(metric)?;
        }
        Ok(())
    }
}
