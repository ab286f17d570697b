//! The metrics of taps.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// What taps have shown and kept back.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) open: AtomicU64,
    pub(super) events: AtomicU64,
    /// By the limit of a tap.
    pub(super) over_limit: AtomicU64,
    /// Because the reader was slow.
    pub(super) queue_full: AtomicU64,
    /// Connections of clients that may not tap.
    pub(super) refused: AtomicU64,
}

#[derive(Debug)]
pub(super) struct TapCollector(pub(super) Arc<Counts>);

impl Collector for TapCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let value = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let counts = &self.0;
        let open = i64::try_from(value(&counts.open)).unwrap_or(i64::MAX);
        let help = "The number of taps that are open.";
        let family = encoder.encode_descriptor("weft_taps", help, None, MetricType::Gauge)?;
        ConstGauge::new(open).encode(family)?;
        for (name, help, of) in [
            ("weft_tap_events", "Events of requests that were put into the queues of taps.", &counts.events),
            (
                "weft_tap_refused_connections",
                "Connections to the tap port whose client did not prove the identity that may tap.",
                &counts.refused,
            ),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value(of)).encode(family)?;
        }
        let help = "Events that taps did not show: over the tap's limit, or because its reader was slow.";
        let name = "weft_tap_dropped_events";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (reason, of) in [("limit", &counts.over_limit), ("slow_reader", &counts.queue_full)] {
            ConstCounter::new(value(of)).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}
