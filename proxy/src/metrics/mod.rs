//! The proxy's metrics.
//!
//! Families and labels are Linkerd's, with the workload's labels on each series, and some are weft's own. A connection
//! looks up its counters once; counting is an atomic operation.
#![forbid(unsafe_code)]

mod build;
mod events;
mod histogram;
mod http;
mod identity;
mod intern;
mod labels;
mod metered;
mod transport;

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{MetricType, counter::ConstCounter},
    registry::Registry,
};
use weft_api::process::ProcessMetrics;

use self::{
    build::Build,
    events::Events,
    http::{Detections, Legs, Routes},
    transport::Transports,
};
pub use self::{
    events::{Authz, AuthzOutcome},
    histogram::{Histogram, QUEUE},
    http::{
        Application, Class, DetectionResult, HttpLabels, HttpSeries, Parent, RouteLabels, RouteSeries,
        StreamFailure, grpc_code, reset_code,
    },
    identity::IdentityMetrics,
    labels::{
        AuthorizationLabels, DecisionLabels, ServerLabels, Tls, TransportLabels, WorkloadLabels, reason,
        sanitize,
    },
    metered::{ConnectionRecord, Metered},
    transport::{OpenConn, Transport},
};
use crate::{net::Direction, refusal::Reason};

/// The proxy's metrics.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: RwLock<Registry>,
    transports: Arc<Transports>,
    events: Arc<Events>,
    http: Http,
    identity: IdentityMetrics,
    before_scrape: RwLock<Vec<Refresh>>,
}

#[derive(Clone, Debug)]
struct Http {
    legs: Arc<Legs>,
    routes: Arc<Routes>,
    detections: Arc<Detections>,
}

/// Updates counters before they are read.
pub type Refresh = Box<dyn Fn() + Send + Sync>;

/// Limits on the number of series.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The maximum number of label sets of connections; for other metrics, a fraction of it.
    pub label_sets: usize,
    /// How long a label set without connections or changes is kept.
    pub idle: Duration,
}

/// The format of a scrape: OpenMetrics 1.0.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Metrics {
    /// Metrics with the default limits. `rustls` are the labels of `rustls_info`.
    pub fn new(rustls: &[(&'static str, String)]) -> Self {
        Self::with_limits(rustls, &Limits::default())
    }

    pub fn with_limits(rustls: &[(&'static str, String)], limits: &Limits) -> Self {
        let transports = Arc::new(Transports::new(limits));
        let events = Arc::new(Events::new(limits));
        let http = Http {
            legs: Arc::new(Legs::new(limits)),
            routes: Arc::new(Routes::new(limits)),
            detections: Arc::new(Detections::new(limits)),
        };
        let identity = IdentityMetrics::default();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(transports.clone()));
        registry.register_collector(Box::new(events.clone()));
        registry.register_collector(Box::new(http.legs.clone()));
        registry.register_collector(Box::new(http.routes.clone()));
        registry.register_collector(Box::new(http.detections.clone()));
        registry.register_collector(Box::new(identity.clone()));
        registry.register_collector(Box::new(Build::new(rustls)));
        registry.register_collector(Box::new(ProcessMetrics::new()));
        registry.register_collector(Box::new(Overflow(transports.clone(), events.clone(), http.clone())));
        let before_scrape = RwLock::default();
        Self(Arc::new(Inner {
            registry: RwLock::new(registry),
            transports,
            events,
            http,
            identity,
            before_scrape,
        }))
    }

    /// The counters of a connection's leg. To be looked up once per connection.
    pub fn transport(&self, labels: &TransportLabels) -> Arc<Transport> {
        self.0.transports.get(labels)
    }

    /// Counts an authorization decision.
    pub fn authz(&self, outcome: AuthzOutcome, labels: &DecisionLabels) {
        self.0.events.authz(outcome, labels);
    }

    /// Counts a connection that could not be served.
    pub fn refused(&self, direction: Direction, workload: &Arc<WorkloadLabels>, reason: Reason) {
        self.0.events.refused(direction, workload, reason.as_str());
    }

    /// The counters of the requests of a connection. To be looked up once per connection.
    pub fn http(&self, labels: &HttpLabels) -> Arc<HttpSeries> {
        self.0.http.legs.get(labels)
    }

    /// The counters of a route. To be looked up once per connection.
    pub fn route(&self, labels: &RouteLabels) -> Arc<RouteSeries> {
        self.0.http.routes.get(labels)
    }

    /// The counters of decisions on requests. To be looked up once per connection and policy.
    pub fn http_authz(&self, labels: &DecisionLabels) -> Arc<Authz> {
        self.0.events.http_authz(labels)
    }

    /// Counts a request that the proxy answered with an error of its own.
    pub fn http_error(&self, direction: Direction, workload: &Arc<WorkloadLabels>, error: &'static str) {
        self.0.events.http_error(direction, workload, error);
    }

    /// Counts the outcome of protocol detection.
    pub fn detected(
        &self,
        direction: Direction,
        workload: &Arc<WorkloadLabels>,
        result: DetectionResult,
        after: Duration,
    ) {
        self.0.http.detections.count(direction, workload, result, after);
    }

    /// Counts an outbound connection whose protocol is declared.
    pub fn declared(&self, workload: &Arc<WorkloadLabels>, is_http2: bool) {
        self.0.http.detections.declared(workload, is_http2);
    }

    /// The metrics of the identity store.
    pub fn identity(&self) -> IdentityMetrics {
        self.0.identity.clone()
    }

    /// Adds the metrics of another module.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.0.registry.write().register_collector(collector);
    }

    /// Calls `refresh` before each scrape.
    pub fn refresh_with(&self, refresh: Refresh) {
        self.0.before_scrape.write().push(refresh);
    }

    /// Encodes all metrics as text. Must not run on an async worker thread: it takes time in proportion to the number
    /// of series.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.0.before_scrape.read().iter().for_each(|refresh| refresh());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.registry.read())?;
        Ok(text)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { label_sets: 20_000, idle: Duration::from_secs(600) }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Counts label sets that found no room.
#[derive(Debug)]
struct Overflow(Arc<Transports>, Arc<Events>, Http);

impl Collector for Overflow {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        use prometheus_client::encoding::EncodeMetric as _;
        let count = ConstCounter::new(
            self.0.overflow() + self.1.overflow() + self.2.legs.overflow() + self.2.routes.overflow(),
        );
        let help =
            "Times that a label set found no room and was counted together with others (overflow=\"true\").";
        let name = "weft_metrics_label_sets_overflow";
        count.encode(transport::describe(&mut encoder, name, help, MetricType::Counter)?)
    }
}

#[cfg(test)]
mod tests;
