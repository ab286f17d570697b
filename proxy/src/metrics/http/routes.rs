//! The HTTP and gRPC families by server (inbound) and service (outbound), with Linkerd's route labels.
//!
//! There are no routes yet: each has the default route of its protocol, or that of health checks.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder},
    metrics::MetricType,
};
use weft_api::grpc::STATUS_NAMES;

use super::{Class, StreamFailure};
use crate::{
    metrics::{
        Limits,
        histogram::{COARSE, FINE, FRAMES, Histogram},
        intern::{Interner, Owned, Series},
        labels::{WorkloadLabels, display, label},
        transport::describe,
    },
    net::Direction,
};

/// What speaks over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Application {
    Http,
    Grpc,
}

/// The resource to which requests go: a Server, a default policy, or a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parent {
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteLabels {
    pub direction: Direction,
    pub workload: Arc<WorkloadLabels>,
    pub parent: Arc<Parent>,
    pub application: Application,
    /// Health checks of the pod's specification have a route of their own.
    pub probe: bool,
}

/// The counters of one route.
#[derive(Debug)]
pub struct RouteSeries {
    requests: AtomicU64,
    /// From the request's head to the end of its body.
    request_duration: Histogram,
    /// From the request's head to the end of the response.
    route_duration: Histogram,
    /// From the response's head to its end.
    response_duration: Histogram,
    /// Sizes of the frames of bodies.
    request_frames: Histogram,
    response_frames: Histogram,
    statuses: Mutex<Vec<(Status, u64)>>,
}

/// The status of a response, and why it broke.
type Status = (Option<StatusCode>, Option<u16>, Option<StreamFailure>);

/// A status beyond this many is counted without its code.
const MAX_STATUSES: usize = 64;

#[derive(Debug)]
pub(crate) struct Routes(Interner<RouteLabels, RouteSeries>, Arc<RouteSeries>);

impl RouteSeries {
    pub fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a part of a request's body, as it was passed on.
    pub fn request_frame(&self, bytes: usize) {
        self.request_frames.observe_number(bytes);
    }

    /// Counts a part of a response's body, as it was passed on.
    pub fn response_frame(&self, bytes: usize) {
        self.response_frames.observe_number(bytes);
    }

    /// Counts the end of a request's body.
    pub fn request_ended(&self, after: Duration) {
        self.request_duration.observe(after);
    }

    /// Counts the end of a response: `total` after the request's head, `response` after its own.
    pub fn response(&self, status: Option<StatusCode>, class: Class, total: Duration, response: Duration) {
        self.route_duration.observe(total);
        self.response_duration.observe(response);
        let mut statuses = self.statuses.lock();
        let mut status = (status, class.grpc_status, class.failure.map(StreamFailure::by_label));
        if statuses.len() >= MAX_STATUSES && !statuses.iter().any(|(known, _)| *known == status) {
            status = (None, None, None);
        }
        match statuses.iter_mut().find(|(known, _)| *known == status) {
            Some((_, count)) => *count += 1,
            None => statuses.push((status, 1)),
        }
    }
}

impl Default for RouteSeries {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            request_duration: Histogram::new(&FINE),
            route_duration: Histogram::new(&COARSE),
            response_duration: Histogram::new(&FINE),
            request_frames: Histogram::new(&FRAMES),
            response_frames: Histogram::new(&FRAMES),
            statuses: Mutex::default(),
        }
    }
}

impl Series for RouteSeries {
    fn fingerprint(&self) -> u64 {
        self.requests.load(Ordering::Relaxed).wrapping_mul(31).wrapping_add(self.route_duration.count())
    }
}

impl Owned for RouteLabels {
    fn owner(&self) -> usize {
        Arc::as_ptr(&self.workload).addr()
    }
}

impl Routes {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Interner::new(limits.label_sets / 4, limits.idle), Arc::default())
    }

    /// The counters of a route. What finds no room is counted nowhere but in the overflow.
    pub(crate) fn get(&self, labels: &RouteLabels) -> Arc<RouteSeries> {
        self.0.get(labels).unwrap_or_else(|| self.1.clone())
    }

    pub(crate) fn overflow(&self) -> u64 {
        self.0.overflow()
    }
}

// === encoding ===

impl Collector for Routes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.snapshot();
        for family in &FAMILIES {
            let series = all.iter().filter(|(labels, series)| {
                labels.direction == family.direction
                    && labels.application == family.application
                    && series.requests.load(Ordering::Relaxed) > 0
            });
            family.encode(&mut encoder, series.map(|(labels, series)| (&**labels, &**series)))?;
        }
        Ok(())
    }
}

/// One family of the table below.
struct Family {
    direction: Direction,
    application: Application,
    name: &'static str,
    value: Value,
}

#[derive(Clone, Copy)]
enum Value {
    Requests,
    RequestDuration,
    RouteDuration,
    ResponseDuration,
    RequestFrames,
    ResponseFrames,
    Statuses,
}

impl Family {
    fn encode<'a>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        series: impl Iterator<Item = (&'a RouteLabels, &'a RouteSeries)>,
    ) -> fmt::Result {
        let (kind, help) = match self.value {
            Value::Requests => (MetricType::Counter, "The total number of requests."),
            Value::Statuses => (MetricType::Counter, "The total number of completed requests, by status."),
            Value::RequestDuration => {
                (MetricType::Histogram, "The time between a request's head and its end.")
            }
            Value::RouteDuration => {
                (MetricType::Histogram, "The time between a request's head and the end of its response.")
            }
            Value::ResponseDuration => {
                (MetricType::Histogram, "The time between a response's head and its end.")
            }
            Value::RequestFrames => (MetricType::Histogram, "The sizes of the frames of requests' bodies."),
            Value::ResponseFrames => (MetricType::Histogram, "The sizes of the frames of responses' bodies."),
        };
        let mut out = describe(encoder, self.name, help, kind)?;
        // Only families of backends have labels of backends.
        let backend = self.name.contains("_backend_");
        for (route, series) in series {
            let labels = Labels { route, backend, status: None };
            let histogram = match self.value {
                Value::Requests => {
                    let count = series.requests.load(Ordering::Relaxed);
                    out.encode_family(&labels)?.encode_counter::<Labels<'_>, u64, u64>(&count, None)?;
                    continue;
                }
                Value::Statuses => {
                    for (status, count) in series.statuses.lock().iter() {
                        let labels = Labels { status: Some(*status), ..labels };
                        out.encode_family(&labels)?.encode_counter::<Labels<'_>, u64, u64>(count, None)?;
                    }
                    continue;
                }
                Value::RequestDuration => &series.request_duration,
                Value::RouteDuration => &series.route_duration,
                Value::ResponseDuration => &series.response_duration,
                Value::RequestFrames => &series.request_frames,
                Value::ResponseFrames => &series.response_frames,
            };
            histogram.encode(out.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

struct Labels<'a> {
    route: &'a RouteLabels,
    backend: bool,
    status: Option<Status>,
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let RouteLabels { workload, parent, application, probe, .. } = self.route;
        workload.write(out)?;
        label(out, "parent_group", &parent.group)?;
        label(out, "parent_kind", &parent.kind)?;
        label(out, "parent_namespace", &parent.namespace)?;
        label(out, "parent_name", &parent.name)?;
        display(out, "parent_port", &parent.port)?;
        label(out, "route_group", "")?;
        label(out, "route_kind", "default")?;
        label(out, "route_name", if *probe { "probe" } else { application.as_str() })?;
        if self.backend {
            label(out, "backend_group", &parent.group)?;
            label(out, "backend_kind", &parent.kind)?;
            label(out, "backend_namespace", &parent.namespace)?;
            label(out, "backend_name", &parent.name)?;
            display(out, "backend_port", &parent.port)?;
        }
        let Some((http, grpc, failure)) = self.status else { return Ok(()) };
        match application {
            Application::Http => label(out, "http_status", http.as_ref().map_or("", StatusCode::as_str))?,
            Application::Grpc => {
                let name = grpc.and_then(|code| STATUS_NAMES.get(usize::from(code))).copied();
                label(out, "grpc_status", name.unwrap_or(""))?;
            }
        }
        label(out, "error", failure.map_or("", StreamFailure::as_str))
    }
}

impl Application {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

const fn family(direction: Direction, application: Application, name: &'static str, value: Value) -> Family {
    Family { direction, application, name, value }
}

const FAMILIES: [Family; 26] = {
    use Application::{Grpc, Http};
    use Direction::{Inbound, Outbound};
    use Value::{
        RequestDuration, RequestFrames, Requests, ResponseDuration, ResponseFrames, RouteDuration, Statuses,
    };
    [
        family(Inbound, Http, "inbound_http_requests", Requests),
        family(Inbound, Http, "inbound_http_request_duration_seconds", RequestDuration),
        family(Inbound, Http, "inbound_http_response_duration_seconds", ResponseDuration),
        family(Inbound, Http, "inbound_http_request_frame_size_bytes", RequestFrames),
        family(Inbound, Http, "inbound_http_response_frame_size_bytes", ResponseFrames),
        family(Inbound, Http, "inbound_http_statuses", Statuses),
        family(Inbound, Grpc, "inbound_grpc_requests", Requests),
        family(Inbound, Grpc, "inbound_grpc_request_duration_seconds", RequestDuration),
        family(Inbound, Grpc, "inbound_grpc_response_duration_seconds", ResponseDuration),
        family(Inbound, Grpc, "inbound_grpc_request_frame_size_bytes", RequestFrames),
        family(Inbound, Grpc, "inbound_grpc_response_frame_size_bytes", ResponseFrames),
        family(Inbound, Grpc, "inbound_grpc_statuses", Statuses),
        family(Outbound, Http, "outbound_http_route_request_duration_seconds", RouteDuration),
        family(Outbound, Http, "outbound_http_route_request_frame_size_bytes", RequestFrames),
        family(Outbound, Http, "outbound_http_route_request_statuses", Statuses),
        family(Outbound, Http, "outbound_http_route_backend_requests", Requests),
        family(Outbound, Http, "outbound_http_route_backend_response_duration_seconds", ResponseDuration),
        family(Outbound, Http, "outbound_http_route_backend_response_frame_size_bytes", ResponseFrames),
        family(Outbound, Http, "outbound_http_route_backend_response_statuses", Statuses),
        family(Outbound, Grpc, "outbound_grpc_route_request_duration_seconds", RouteDuration),
        family(Outbound, Grpc, "outbound_grpc_route_request_frame_size_bytes", RequestFrames),
        family(Outbound, Grpc, "outbound_grpc_route_request_statuses", Statuses),
        family(Outbound, Grpc, "outbound_grpc_route_backend_requests", Requests),
        family(Outbound, Grpc, "outbound_grpc_route_backend_response_duration_seconds", ResponseDuration),
        family(Outbound, Grpc, "outbound_grpc_route_backend_response_frame_size_bytes", ResponseFrames),
        family(Outbound, Grpc, "outbound_grpc_route_backend_response_statuses", Statuses),
    ]
};
