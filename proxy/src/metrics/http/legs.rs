//! `request_total`, `response_total` and `response_latency_ms`, as Linkerd has always had them.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use parking_lot::{Mutex, RwLock};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder},
    metrics::MetricType,
};

use super::Class;
use crate::{
    metrics::{
        Limits,
        histogram::{Histogram, RESPONSE_LATENCY},
        intern::{Interner, Owned, Series},
        labels::{
            ServerLabels, Tls, WorkloadLabels, display, label, write_destination, write_server, write_target,
        },
        transport::describe,
    },
    net::Direction,
};

/// The labels of the requests on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpLabels {
    pub direction: Direction,
    pub workload: Arc<WorkloadLabels>,
    /// The address that the request goes to.
    pub target: SocketAddr,
    pub tls: Tls,
    /// The policy of the port; for inbound requests.
    pub server: Option<Arc<ServerLabels>>,
    /// The `dst_*` labels of the endpoint; for outbound requests.
    pub destination: Option<Arc<BTreeMap<String, String>>>,
}

/// The counters of all requests with one set of labels.
#[derive(Debug, Default)]
pub struct HttpSeries {
    requests: AtomicU64,
    /// At most [`MAX_STATUSES`].
    statuses: RwLock<Vec<Arc<StatusSeries>>>,
}

#[derive(Debug)]
struct StatusSeries {
    /// `None`: the response never began, or its status is one too many.
    status: Option<StatusCode>,
    latency: Histogram,
    classes: Mutex<Vec<(Class, u64)>>,
}

/// Applications use few status codes; one that invents them does not fill the table.
const MAX_STATUSES: usize = 48;

/// All requests of all workloads.
#[derive(Debug)]
pub(crate) struct Legs {
    legs: Interner<HttpLabels, HttpSeries>,
    overflow: [(Direction, Arc<HttpSeries>); 2],
}

impl HttpSeries {
    /// Counts a request.
    pub fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a response, `latency` after the request's head.
    pub fn response(&self, status: Option<StatusCode>, class: Class, latency: Duration) {
        let series = self.status(status);
        series.latency.observe(latency);
        let mut classes = series.classes.lock();
        match classes.iter_mut().find(|(known, _)| *known == class) {
            Some((_, count)) => *count += 1,
            None => classes.push((class, 1)),
        }
    }

    fn status(&self, status: Option<StatusCode>) -> Arc<StatusSeries> {
        let find = |all: &[Arc<StatusSeries>], status| all.iter().find(|one| one.status == status).cloned();
        if let Some(known) = find(&self.statuses.read(), status) {
            return known;
        }
        let mut statuses = self.statuses.write();
        let status = if statuses.len() < MAX_STATUSES { status } else { None };
        find(&statuses, status).unwrap_or_else(|| {
            let latency = Histogram::new(&RESPONSE_LATENCY);
            let series = Arc::new(StatusSeries { status, latency, classes: Mutex::default() });
            statuses.push(series.clone());
            series
        })
    }
}

impl Series for HttpSeries {
    fn fingerprint(&self) -> u64 {
        let responses: u64 = self.statuses.read().iter().map(|status| status.latency.count()).sum();
        self.requests.load(Ordering::Relaxed).wrapping_mul(31).wrapping_add(responses)
    }
}

impl Owned for HttpLabels {
    fn owner(&self) -> usize {
        Arc::as_ptr(&self.workload).addr()
    }
}

impl Legs {
    pub(crate) fn new(limits: &Limits) -> Self {
        let overflow = [Direction::Inbound, Direction::Outbound].map(|direction| (direction, Arc::default()));
        Self { legs: Interner::new(limits.label_sets / 2, limits.idle), overflow }
    }

    pub(crate) fn get(&self, labels: &HttpLabels) -> Arc<HttpSeries> {
        self.legs.get(labels).unwrap_or_else(|| {
            let of_direction = self.overflow.iter().find(|(direction, _)| *direction == labels.direction);
            of_direction.map_or_else(Arc::default, |(_, series)| series.clone())
        })
    }

    pub(crate) fn overflow(&self) -> u64 {
        self.legs.overflow()
    }
}

// === encoding ===

enum Labels<'a> {
    Known(&'a HttpLabels),
    Overflow(Direction),
}

/// The labels of a response.
struct Response<'a> {
    leg: &'a Labels<'a>,
    status: Option<StatusCode>,
    class: Option<Class>,
}

impl Collector for Legs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let known = self.legs.snapshot();
        let legs: Vec<(Labels<'_>, &HttpSeries)> = known
            .iter()
            .map(|(labels, series)| (Labels::Known(labels), &**series))
            .chain(self.overflow.iter().map(|(direction, series)| (Labels::Overflow(*direction), &**series)))
            .filter(|(_, series)| series.requests.load(Ordering::Relaxed) > 0)
            .collect();
        let mut family = describe(&mut encoder, "request", REQUESTS, MetricType::Counter)?;
        for (labels, series) in &legs {
            let count = series.requests.load(Ordering::Relaxed);
            family.encode_family(labels)?.encode_counter::<Labels<'_>, u64, u64>(&count, None)?;
        }
        let mut family = describe(&mut encoder, "response", RESPONSES, MetricType::Counter)?;
        for (leg, series) in &legs {
            for status in series.statuses.read().iter() {
                for (class, count) in status.classes.lock().iter() {
                    let labels = Response { leg, status: status.status, class: Some(*class) };
                    family.encode_family(&labels)?.encode_counter::<Response<'_>, u64, u64>(count, None)?;
                }
            }
        }
        let mut family = describe(&mut encoder, "response_latency_ms", LATENCY, MetricType::Histogram)?;
        for (leg, series) in &legs {
            for status in series.statuses.read().iter() {
                let labels = Response { leg, status: status.status, class: None };
                status.latency.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        match self {
            Self::Known(labels) => {
                label(out, "direction", labels.direction.as_str())?;
                labels.workload.write(out)?;
                write_target(out, labels.target)?;
                labels.tls.write(out, labels.direction)?;
                write_server(out, labels.server.as_deref())?;
                write_destination(out, labels.destination.as_deref())
            }
            Self::Overflow(direction) => {
                label(out, "direction", direction.as_str())?;
                label(out, "overflow", "true")
            }
        }
    }
}

impl EncodeLabelSet for Response<'_> {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.leg.encode(out)?;
        label(out, "status_code", self.status.as_ref().map_or("", StatusCode::as_str))?;
        let Some(class) = self.class else { return Ok(()) };
        label(out, "classification", class.as_str())?;
        if let Some(code) = class.grpc_status {
            display(out, "grpc_status", &code)?;
        }
        class.failure.map_or(Ok(()), |failure| label(out, "error", failure.as_str()))
    }
}

const REQUESTS: &str = "Total count of HTTP requests.";
const RESPONSES: &str = "Total count of HTTP responses.";
const LATENCY: &str = "Milliseconds from the end of a request's headers to the end of its response stream.";
