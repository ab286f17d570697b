//! Metrics of the limits.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};

use super::NodeLimiter;

/// Exports the metrics of the node's limits.
#[derive(Debug)]
pub struct LimitsCollector(pub Arc<NodeLimiter>);

impl Collector for LimitsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("weft_connections_open", "Open connections of all workloads", self.0.open()),
            (
                "weft_connections_limit",
                "The maximum number of open connections of all workloads",
                self.0.total(),
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
