//! Counts the outcomes of protocol detection.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder},
    metrics::MetricType,
};

use crate::{
    metrics::{
        Limits,
        histogram::{DETECTION, Histogram},
        intern::{Interner, Owned, Series},
        labels::{WorkloadLabels, label},
        transport::describe,
    },
    net::Direction,
};

/// What detection found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectionResult {
    NotHttp,
    Http1,
    Http2,
    /// The client sent the start of a request line, and then nothing in time.
    ReadTimeout,
    /// The connection broke before anything was known.
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Labels {
    direction: Direction,
    workload: Arc<WorkloadLabels>,
}

#[derive(Debug)]
struct Counts {
    results: [AtomicU64; 5],
    /// Connections that were not detected because a service declares HTTP/1, or HTTP/2.
    declared: [AtomicU64; 2],
    duration: Histogram,
}

#[derive(Debug)]
pub(crate) struct Detections(Interner<Labels, Counts>);

const RESULTS: [(DetectionResult, &str); 5] = [
    (DetectionResult::NotHttp, "not_http"),
    (DetectionResult::Http1, "http/1"),
    (DetectionResult::Http2, "http/2"),
    (DetectionResult::ReadTimeout, "read_timeout"),
    (DetectionResult::Error, "error"),
];

impl Detections {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Interner::new(limits.label_sets / 8, limits.idle))
    }

    pub(crate) fn count(
        &self,
        direction: Direction,
        workload: &Arc<WorkloadLabels>,
        result: DetectionResult,
        after: Duration,
    ) {
        let Some(counts) = self.0.get(&Labels { direction, workload: workload.clone() }) else { return };
        counts.duration.observe(after);
        for ((known, _), count) in RESULTS.iter().zip(&counts.results) {
            if *known == result {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn declared(&self, workload: &Arc<WorkloadLabels>, is_http2: bool) {
        let labels = Labels { direction: Direction::Outbound, workload: workload.clone() };
        if let Some(counts) = self.0.get(&labels) {
            counts.declared[usize::from(is_http2)].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            results: Default::default(),
            declared: Default::default(),
            duration: Histogram::new(&DETECTION),
        }
    }
}

impl Series for Counts {
    fn fingerprint(&self) -> u64 {
        let declared = self.declared.iter().map(|count| count.load(Ordering::Relaxed));
        self.duration.count() + declared.sum::<u64>()
    }
}

impl Owned for Labels {
    fn owner(&self) -> usize {
        Arc::as_ptr(&self.workload).addr()
    }
}

// === encoding ===

struct WithResult<'a>(&'a Labels, Option<&'static str>);

impl EncodeLabelSet for WithResult<'_> {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.workload.write(out)?;
        self.1.map_or(Ok(()), |result| label(out, "result", result))
    }
}

impl Collector for Detections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.snapshot();
        for (direction, results, duration) in [
            (
                Direction::Inbound,
                "inbound_tcp_detect_http_results",
                "inbound_tcp_detect_http_duration_seconds",
            ),
            (
                Direction::Outbound,
                "outbound_tcp_detect_http_results",
                "outbound_tcp_detect_http_duration_seconds",
            ),
        ] {
            let of_direction = || all.iter().filter(|(labels, _)| labels.direction == direction);
            let mut family = describe(&mut encoder, results, DETECTED, MetricType::Counter)?;
            for (labels, counts) in of_direction() {
                for ((_, name), count) in RESULTS.iter().zip(&counts.results) {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        let labels = WithResult(labels, Some(name));
                        family
                            .encode_family(&labels)?
                            .encode_counter::<WithResult<'_>, u64, u64>(&count, None)?;
                    }
                }
            }
            let mut family = describe(&mut encoder, duration, DURATION, MetricType::Histogram)?;
            for (labels, counts) in of_direction().filter(|(_, counts)| counts.duration.count() > 0) {
                counts.duration.encode(family.encode_family(&WithResult(labels, None))?)?;
            }
        }
        let mut family =
            describe(&mut encoder, "outbound_tcp_protocol_connections", PROTOCOLS, MetricType::Counter)?;
        for (labels, counts) in all.iter().filter(|(labels, _)| labels.direction == Direction::Outbound) {
            let count = |result| {
                let results = RESULTS.iter().zip(&counts.results);
                results
                    .filter(|((known, _), _)| *known == result)
                    .map(|(_, n)| n.load(Ordering::Relaxed))
                    .sum::<u64>()
            };
            let opaque = count(DetectionResult::NotHttp) + count(DetectionResult::ReadTimeout);
            let [http1, http2] = [0, 1].map(|at| counts.declared[at].load(Ordering::Relaxed));
            for (protocol, count) in [
                ("http/1", count(DetectionResult::Http1) + http1),
                ("http/2", count(DetectionResult::Http2) + http2),
                ("opaq", opaque),
            ] {
                if count > 0 {
                    let labels = WithProtocol(labels, protocol);
                    family
                        .encode_family(&labels)?
                        .encode_counter::<WithProtocol<'_>, u64, u64>(&count, None)?;
                }
            }
        }
        Ok(())
    }
}

struct WithProtocol<'a>(&'a Labels, &'static str);

impl EncodeLabelSet for WithProtocol<'_> {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.workload.write(out)?;
        label(out, "protocol", self.1)
    }
}

const PROTOCOLS: &str =
    "Outbound connections whose protocol was detected, or declared by the service, by protocol.";
const DETECTED: &str = "Results of HTTP detection on accepted connections.";
const DURATION: &str = "Time that HTTP detection took.";
