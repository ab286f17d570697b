//! The metrics of weft-viz itself.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};
use weft_api::process::ProcessMetrics;

/// All clones share the same metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Request, Counter>,
    questions: Histogram,
    question_errors: Family<Reason, Counter>,
    pub(crate) taps: Gauge,
    pub(crate) taps_refused: Counter,
    connections: Gauge<i64, std::sync::atomic::AtomicI64>,
    started: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    call: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(ProcessMetrics::new()));
        let registry = all.sub_registry_with_prefix("weft_viz");
        registry.register(
            "build",
            "Version of weft-viz",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let requests = Family::default();
        registry.register("api_requests", "Requests to the API, by call and status code", requests.clone());
        // From 1 ms to 16 s.
        let questions = Histogram::new(exponential_buckets(0.001, 2.0, 15));
        registry.register(
            "prometheus_query_duration_seconds",
            "How long Prometheus took to answer",
            questions.clone(),
        );
        let question_errors = Family::default();
        registry.register(
            "prometheus_query_errors",
            "Questions that Prometheus did not answer, by reason",
            question_errors.clone(),
        );
        let taps = Gauge::default();
        registry.register("taps_open", "Taps that are open", taps.clone());
        let taps_refused = Counter::default();
        registry.register(
            "taps_refused",
            "Live calls that were refused because too many are open",
            taps_refused.clone(),
        );
        let connections = Gauge::default();
        registry.register("connections_open", "Open connections to the dashboard", connections.clone());
        let started = Gauge::<f64, AtomicU64>::default();
        started.set(crate::clock::now());
        registry.register("start_time_seconds", "When weft-viz started", started.clone());
        Self {
            registry: Arc::new(all),
            requests,
            questions,
            question_errors,
            taps,
            taps_refused,
            connections,
            started,
        }
    }

    pub(crate) fn answered(&self, call: &'static str, code: u16) {
        self.requests.get_or_create(&Request { call, code }).inc();
    }

    pub(crate) fn prometheus_asked(&self, took: Duration, failed: Option<&'static str>) {
        self.questions.observe(took.as_secs_f64());
        if let Some(reason) = failed {
            self.prometheus_failed(reason);
        }
    }

    pub(crate) fn prometheus_failed(&self, reason: &'static str) {
        self.question_errors.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    /// The metrics as OpenMetrics.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }

    /// When the process started, in Unix seconds.
    pub(crate) fn started(&self) -> f64 {
        self.started.get()
    }
}

/// An open connection; it is no longer counted when this is dropped.
#[derive(Debug)]
pub(crate) struct Connected(Gauge<i64, std::sync::atomic::AtomicI64>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}
