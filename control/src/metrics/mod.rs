//! The metrics of weft-control.

mod watches;

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Metric, Registry},
};
use tonic::Code;
use weft_api::process::ProcessMetrics;

pub(crate) use self::watches::WatchMetrics;
use self::watches::Watches;
use crate::{index::Cluster, model::Kind};

/// All clones share the same metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Request, Counter>,
    streams: Family<Method, Gauge>,
    objects: Family<ObjectKind, Gauge>,
    manifest_errors: Gauge,
    issued: Counter,
    refused: Family<Refusal, Counter>,
    withdrawn: Counter,
    issuer_expires: Gauge<f64, AtomicU64>,
    issuer_errors: Counter,
    anchors_expire: Gauge<f64, AtomicU64>,
    own_expires: Gauge<f64, AtomicU64>,
    token_reviews: Family<Outcome, Counter>,
    node_calls_refused: Family<Refusal, Counter>,
    handshakes: Family<Outcome, Counter>,
    connections: Gauge,
    ready: Gauge,
    watches: Watches,
    reviews: Family<Review, Counter>,
    webhook_expires: Gauge<f64, AtomicU64>,
    webhook_errors: Counter,
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
struct ObjectKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Review {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// A call that is counted when it is dropped. Until then a stream counts as open.
#[derive(Debug)]
pub(crate) struct Call {
    metrics: Metrics,
    method: &'static str,
    is_stream: bool,
    pub(crate) code: Code,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics::new()));
        let r = registry.sub_registry_with_prefix("weft_control");
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "Version of weft-control", info);
        Self {
            requests: new(r, "grpc_requests", "gRPC calls that have ended, by method and status code"),
            streams: new(r, "grpc_streams_open", "gRPC streams that are open, by method"),
            objects: new(r, "index_objects", "Objects in the index, by kind"),
            manifest_errors: new(
                r,
                "manifest_errors",
                "Mistakes in manifests at present; the last valid state of such a file applies",
            ),
            issued: new(r, "certificates_issued", "Certificates that have been issued"),
            refused: new(r, "certificates_refused", "Certificate requests that have been refused, by reason"),
            withdrawn: new(
                r,
                "pods_withdrawn",
                "Fail-open pods announced as unmeshed because their node no longer had a proxy",
            ),
            issuer_expires: new(
                r,
                "issuer_expiration_timestamp_seconds",
                "Time at which the issuer's certificate, or an anchor that it needs, expires",
            ),
            issuer_errors: new(
                r,
                "issuer_reload_errors",
                "Failed attempts to load a changed issuer or changed anchors",
            ),
            anchors_expire: new(
                r,
                "trust_anchor_expiration_timestamp_seconds",
                "Time at which the first of the trust anchors expires",
            ),
            own_expires: new(
                r,
                "own_certificate_expiration_timestamp_seconds",
                "Time at which the certificate of weft-control itself expires",
            ),
            token_reviews: new(r, "token_reviews", "Reviews of tokens by the Kubernetes API, by result"),
            node_calls_refused: new(
                r,
                "node_calls_refused",
                "Calls of the node service whose token did not allow them, by reason",
            ),
            handshakes: new(r, "tls_handshakes", "TLS handshakes with gRPC clients, by result"),
            connections: new(r, "connections_open", "Connections of gRPC clients that are open"),
            ready: new(r, "ready", "Whether this replica answers calls"),
            watches: Watches::new(r),
            reviews: new(r, "webhook_reviews", "Objects that the webhook has checked, by kind and result"),
            webhook_expires: new(
                r,
                "webhook_certificate_expiration_timestamp_seconds",
                "Time at which the webhook's certificate expires; 0 without a webhook",
            ),
            webhook_errors: new(
                r,
                "webhook_registration_errors",
                "Failed attempts to issue the webhook's certificate or to tell the API server whom to trust",
            ),
            registry: Arc::new(registry),
        }
    }

    /// All metrics in the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        self.watches.update_silence();
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# failed to write metrics: {error}\n"),
        }
    }

    pub(crate) fn call(&self, method: &'static str, is_stream: bool) -> Call {
        if is_stream {
            self.streams.get_or_create(&Method { method }).inc();
        }
        Call { metrics: self.clone(), method, is_stream, code: Code::Ok }
    }

    pub(crate) fn set_index_objects(&self, cluster: &Cluster) {
        let endpoints = cluster.services().map(|service| service.endpoint_count()).sum();
        for (kind, count) in [
            ("pods", cluster.pods().len()),
            ("meshed_pods", cluster.pods().filter(|pod| pod.is_meshed()).count()),
            ("served_pods", cluster.pods().filter(|pod| pod.is_meshed() && pod.served).count()),
            ("unmeshable_pods", cluster.pods().filter(|pod| pod.inject && !pod.is_meshed()).count()),
            ("services", cluster.services().len()),
            ("endpoints", endpoints),
            ("nodes", cluster.nodes().count()),
        ] {
            self.objects.get_or_create(&ObjectKind { kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn set_manifest_errors(&self, count: usize) {
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

    pub(crate) fn set_issuer_expiration(&self, expires: time::OffsetDateTime) {
        self.issuer_expires.set(expires.unix_timestamp() as f64);
    }

    /// The metrics of the watch of a kind.
    pub(crate) fn watch(&self, kind: Kind) -> WatchMetrics {
        self.watches.of(kind)
    }

    pub(crate) fn reviewed(&self, kind: &'static str, result: &'static str) {
        self.reviews.get_or_create(&Review { kind, result }).inc();
    }

    pub(crate) fn set_webhook_expiration(&self, expires: time::OffsetDateTime) {
        self.webhook_expires.set(expires.unix_timestamp() as f64);
    }

    pub(crate) fn webhook_error(&self) {
        self.webhook_errors.inc();
    }

    pub(crate) fn set_anchors_expiration(&self, expires: time::OffsetDateTime) {
        self.anchors_expire.set(expires.unix_timestamp() as f64);
    }

    pub(crate) fn set_own_expiration(&self, expires: time::OffsetDateTime) {
        self.own_expires.set(expires.unix_timestamp() as f64);
    }

    pub(crate) fn token_review(&self, result: &'static str) {
        self.token_reviews.get_or_create(&Outcome { result }).inc();
    }

    pub(crate) fn node_call_refused(&self, reason: &'static str) {
        self.node_calls_refused.get_or_create(&Refusal { reason }).inc();
    }

    pub(crate) fn handshake(&self, result: &'static str) {
        self.handshakes.get_or_create(&Outcome { result }).inc();
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.inc();
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.dec();
    }

    pub(crate) fn set_ready(&self) {
        self.ready.set(1);
    }

    pub(crate) fn issuer_error(&self) {
        self.issuer_errors.inc();
    }
}

/// Registers a metric that starts at zero.
fn new<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
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

#[cfg(test)]
mod tests;
