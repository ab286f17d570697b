//! What does the control plane count?

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};
use tonic::Code;

use crate::index::Cluster;

/// The control plane's metrics. Clones count into the same.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Request, Counter>,
    streams: Family<Method, Gauge>,
    objects: Family<Kind, Gauge>,
    manifest_errors: Gauge,
    issued: Counter,
    refused: Family<Refusal, Counter>,
    withdrawn: Counter,
    issuer_expires: Gauge<f64, AtomicU64>,
    issuer_errors: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    reason: &'static str,
}

/// Counts a call when it ends, and a stream as open until then.
#[derive(Debug)]
pub(crate) struct Call {
    metrics: Metrics,
    method: &'static str,
    is_stream: bool,
    pub(crate) code: Code,
}

impl Metrics {
    /// Metrics that count from zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("weft_control");
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program's version", info);
        let mut metrics = Self {
            registry: Arc::default(),
            requests: Family::default(),
            streams: Family::default(),
            objects: Family::default(),
            manifest_errors: Gauge::default(),
            issued: Counter::default(),
            refused: Family::default(),
            withdrawn: Counter::default(),
            issuer_expires: Gauge::default(),
            issuer_errors: Counter::default(),
        };
        registry.register(
            "grpc_requests",
            "gRPC calls that ended, by method and status",
            metrics.requests.clone(),
        );
        registry.register("grpc_streams_open", "gRPC streams that are open", metrics.streams.clone());
        registry.register("index_objects", "Objects in the index", metrics.objects.clone());
        registry.register(
            "manifest_errors",
            "Mistakes in manifests at present; the last good state of such a file stays in force",
            metrics.manifest_errors.clone(),
        );
        registry.register("certificates_issued", "Certificates issued", metrics.issued.clone());
        registry.register("certificates_refused", "Certificate requests refused", metrics.refused.clone());
        registry.register(
            "pods_withdrawn",
            "Pods that fail open and were announced as unmeshed because their node had no proxy any more",
            metrics.withdrawn.clone(),
        );
        registry.register(
            "issuer_expiration_timestamp_seconds",
            "When the issuer's certificate expires",
            metrics.issuer_expires.clone(),
        );
        registry.register(
            "issuer_reload_errors",
            "Attempts to load a changed issuer or changed anchors that failed",
            metrics.issuer_errors.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }

    /// All metrics in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# metrics cannot be written: {error}\n"),
        }
    }

    pub(crate) fn call(&self, method: &'static str, is_stream: bool) -> Call {
        if is_stream {
            self.streams.get_or_create(&Method { method }).inc();
        }
        Call { metrics: self.clone(), method, is_stream, code: Code::Ok }
    }

    pub(crate) fn indexed(&self, cluster: &Cluster) {
        let endpoints = cluster.services().map(|service| service.endpoint_count()).sum();
        for (kind, count) in [
            ("pods", cluster.pods().len()),
            ("meshed_pods", cluster.pods().filter(|pod| pod.is_meshed()).count()),
            ("served_pods", cluster.pods().filter(|pod| pod.is_meshed() && pod.served).count()),
            ("services", cluster.services().len()),
            ("endpoints", endpoints),
            ("nodes", cluster.nodes().count()),
        ] {
            self.objects.get_or_create(&Kind { kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn manifest_errors(&self, count: usize) {
        self.manifest_errors.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn issued(&self) {
        self.issued.inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Refusal { reason }).inc();
    }

    pub(crate) fn withdrawn(&self, pods: usize) {
        self.withdrawn.inc_by(pods as u64);
    }

    pub(crate) fn issuer(&self, expires: time::OffsetDateTime) {
        self.issuer_expires.set(expires.unix_timestamp() as f64);
    }

    pub(crate) fn issuer_error(&self) {
        self.issuer_errors.inc();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let method = self.method;
        self.metrics.requests.get_or_create(&Request { method, code: format!("{:?}", self.code) }).inc();
        if self.is_stream {
            self.metrics.streams.get_or_create(&Method { method }).dec();
        }
    }
}
