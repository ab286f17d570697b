//! What is told of splicing?

use std::sync::{Arc, atomic::Ordering};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::Splicing;

/// Reads the counters when metrics are scraped.
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
                "Connections of ports that opted in whose way the kernel was told",
                &counters.spliced,
            ),
            (
                "weft_splice_hops",
                "Connections to other nodes whose way between application and proxy was made short",
                &counters.hops,
            ),
            (
                "weft_splice_late",
                "Connections to and from other nodes whose way was not made short because the application had ended its half",
                &counters.late,
            ),
            (
                "weft_splice_full",
                "Connections of ports that opted in and were relayed because a map was full",
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
        let help = "Connections whose way the kernel knows at present";
        let metric = encoder.encode_descriptor("weft_splice_open", help, None, open.metric_type())?;
        open.encode(metric)?;
        let flows = ConstGauge::new(self.0.capture.splice().routes() as i64);
        let help =
            "Directions of connections that the kernel may move bytes of, of all generations of the proxy";
        let metric = encoder.encode_descriptor("weft_splice_flows", help, None, flows.metric_type())?;
        flows.encode(metric)?;
        let available = ConstGauge::new(i64::from(self.0.off().is_none()));
        let help = "Whether this kernel lets connections be spliced; /config has the reason if not";
        let metric =
            encoder.encode_descriptor("weft_splice_available", help, None, available.metric_type())?;
        available.encode(metric)
    }
}
