//! Metrics of the connections to the control plane.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::replicas::Replicas;

/// The families `weft_control_plane_*`.
#[derive(Debug)]
pub struct ControlMetrics(pub Arc<Replicas>);

impl Collector for ControlMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (known, ready) = self.0.count();
        for (name, help, value) in [
            ("weft_control_plane_replicas", "Addresses of the control plane that are known.", known),
            (
                "weft_control_plane_replicas_ready",
                "Replicas of the control plane that have a session with this proxy and are ready.",
                ready,
            ),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?;
        }
        let counts = self.0.counts();
        for (name, help, count) in [
            (
                "weft_control_plane_failovers",
                "Times that another replica was asked because the former one went.",
                counts.failovers,
            ),
            (
                "weft_control_plane_session_errors",
                "Sessions with replicas of the control plane that ended or were not accepted.",
                counts.session_errors,
            ),
            (
                "weft_control_plane_lookup_errors",
                "Failed lookups of the addresses of the control plane.",
                counts.lookup_errors,
            ),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(metric)?;
        }
        Ok(())
    }
}
