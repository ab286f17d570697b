//! Metrics of pods' starts and of the connection to the container runtime.

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
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::nri::Connection;

/// What became of the start of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was served before its containers started.
    Served,
    /// It is not meshed.
    Unmeshed,
    /// It cannot be served, which is reported.
    Refused,
    /// The control plane has not said whether it is meshed.
    Unknown,
    /// It starts before it is served, as its fail mode says.
    Late,
    /// It may not start before it is served, as its fail mode says. The kubelet tries again.
    Held,
}

impl Outcome {
    const ALL: [Outcome; 6] = [
        Outcome::Served,
        Outcome::Unmeshed,
        Outcome::Refused,
        Outcome::Unknown,
        Outcome::Late,
        Outcome::Held,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Outcome::Served => "served",
            Outcome::Unmeshed => "unmeshed",
            Outcome::Refused => "refused",
            Outcome::Unknown => "unknown",
            Outcome::Late => "late",
            Outcome::Held => "held",
        }
    }
}

/// How many pods have started, and how long that was held.
#[derive(Debug, Default)]
pub struct Admissions {
    counts: [AtomicU64; Outcome::ALL.len()],
    held_micros: AtomicU64,
}

impl Admissions {
    pub(super) fn count(&self, outcome: Outcome, held: Duration) {
        self.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.held_micros.fetch_add(u64::try_from(held.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The families `weft_pod_starts`, `weft_pod_start_held_seconds` and `weft_nri_…`.
#[derive(Debug)]
pub struct AdmissionCollector {
    pub admissions: Arc<Admissions>,
    pub connection: Arc<Connection>,
}

impl Collector for AdmissionCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Pods that the container runtime started, by what became of them.";
        let mut starts = encoder.encode_descriptor("weft_pod_starts", help, None, MetricType::Counter)?;
        for outcome in Outcome::ALL {
            let labels = [("outcome", outcome.as_str())];
            let count = self.admissions.counts[outcome as usize].load(Ordering::Relaxed);
            ConstCounter::new(count).encode(starts.encode_family(&labels)?)?;
        }
        let help = "Time by which pods' starts were held, in total.";
        let held =
            encoder.encode_descriptor("weft_pod_start_held_seconds", help, None, MetricType::Counter)?;
        ConstCounter::new(self.admissions.held_micros.load(Ordering::Relaxed) as f64 / 1e6).encode(held)?;
        let help = "Whether the container runtime tells of pods before they start (NRI).";
        let connected = encoder.encode_descriptor("weft_nri_connected", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(self.connection.is_synchronized())).encode(connected)?;
        let help = "Connections to the container runtime that have ended.";
        let lost = encoder.encode_descriptor("weft_nri_connections_lost", help, None, MetricType::Counter)?;
        ConstCounter::new(self.connection.lost()).encode(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_counter() {
        let admissions = Arc::<Admissions>::default();
        admissions.count(Outcome::Held, Duration::from_millis(1_500));
        admissions.count(Outcome::Served, Duration::from_millis(20));
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(AdmissionCollector { admissions, connection: Arc::default() }));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "weft_pod_starts_total{outcome=\"held\"} 1",
            "weft_pod_starts_total{outcome=\"served\"} 1",
            "weft_pod_starts_total{outcome=\"late\"} 0",
            "weft_pod_start_held_seconds_total 1.52",
            "weft_nri_connected 0",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
