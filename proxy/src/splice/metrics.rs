//! Metrics of splicing.

use std::sync::{Arc, atomic::Ordering};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::Splicing;

/// Exports the counters of splicing.
#[derive(Clone)]
pub struct SpliceCollector(pub Arc<Splicing>);

impl std::fmt::Debug for SpliceCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpliceCollector").finish_non_exhaustive()
    }
}

impl Collector for SpliceCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters = &self.0.counters;
        let counters = [
            (
                "weft_splice_connections",
                "Connections between workloads of this node that were spliced",
                &counters.local,
            ),
            (
                "weft_splice_hops",
                "Connections to and from other nodes that were spliced between application and proxy",
                &counters.remote,
            ),
            (
                "weft_splice_late",
                "Connections to and from other nodes that were not spliced because the application had closed its half",
                &counters.half_closed,
            ),
            (
                "weft_splice_full",
                "Connections that opted in but were relayed because a map was full",
                &counters.full,
            ),
            (
                "weft_splice_bytes",
                "Bytes that the kernel moved from application to application",
                &counters.bytes,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let open = ConstGauge::new(self.0.open.lock().len() as i64);
        let help = "Open connections between workloads of this node that are spliced";
        let metric = encoder.encode_descriptor("weft_splice_open", help, None, open.metric_type())?;
        open.encode(metric)?;
        let flows = ConstGauge::new(self.0.capture.splice().routes() as i64);
        let help = "Directions of connections in which the kernel may move bytes, of all proxy processes of the node";
        let metric = encoder.encode_descriptor("weft_splice_flows", help, None, flows.metric_type())?;
        flows.encode(metric)?;
        let available = ConstGauge::new(i64::from(self.0.off().is_none()));
        let help = "Whether this kernel can splice connections; if not, /config has the reason";
        let metric =
            encoder.encode_descriptor("weft_splice_available", help, None, available.metric_type())?;
        available.encode(metric)
    }
}
