//! The metrics of balancers, by service. The workloads of a node share them.

use std::{
    collections::HashSet,
    fmt,
    sync::{Weak, atomic::Ordering},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder},
    metrics::MetricType,
};

use super::route::service;
use crate::{
    balance::{Balancer, Counts},
    discovery::{Destination, Discovery},
    metrics::Parent,
    upstream::FAILFAST_TIMEOUT,
};

/// Reads the balancers of all services that are in use.
pub(super) struct BalancerMetrics(pub(super) Weak<Discovery>);

impl fmt::Debug for BalancerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BalancerMetrics")
    }
}

struct Labels<'a> {
    service: &'a Parent,
    also: Option<(&'static str, &'static str)>,
}

/// A family of one gauge for each service, in seconds.
struct Seconds {
    name: &'static str,
    help: &'static str,
    value: fn(&Balancer) -> Duration,
}

/// A value, and the label that distinguishes it.
type Sample = (Option<(&'static str, &'static str)>, u64);

/// A family, and how its series are read.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    series: fn(&Balancer) -> Vec<Sample>,
}

impl Collector for BalancerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(discovery) = self.0.upgrade() else { return Ok(()) };
        // A service of both families has an entry for each address that was dialled: the first one counts.
        let mut seen = HashSet::new();
        let mut services = Vec::new();
        for destination in discovery.all() {
            if let Destination::Service { authority, endpoints, .. } = &*destination
                && let Some(parent) = service(authority)
                && seen.insert(authority.clone())
            {
                services.push((parent, endpoints.same_family.clone()));
            }
        }
        for family in &FAMILIES {
            let mut out = encoder.encode_descriptor(family.name, family.help, None, family.kind)?;
            for (service, balancer) in &services {
                for (also, value) in (family.series)(balancer) {
                    let labels = Labels { service, also };
                    let mut series = out.encode_family(&labels)?;
                    match family.kind {
                        MetricType::Gauge => {
                            series.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?
                        }
                        _ => series.encode_counter::<Labels<'_>, u64, u64>(&value, None)?,
                    }
                }
            }
        }
        for Seconds { name, help, value } in &SECONDS {
            let mut out = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (service, balancer) in &services {
                let labels = Labels { service, also: None };
                out.encode_family(&labels)?.encode_gauge(&value(balancer).as_secs_f64())?;
            }
        }
        let (name, help) = ("outbound_http_balancer_queue_latency_seconds", "How long requests had to wait.");
        let mut out = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (service, balancer) in &services {
            let labels = Labels { service, also: None };
            counts(balancer).wait_times.encode(out.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let Parent { group, kind, namespace, name, port } = self.service;
        let port = port.to_string();
        for (label, value) in [
            ("parent_group", group.as_str()),
            ("parent_kind", kind),
            ("parent_namespace", namespace),
            ("parent_name", name),
            ("parent_port", &port),
            ("backend_group", group),
            ("backend_kind", kind),
            ("backend_namespace", namespace),
            ("backend_name", name),
            ("backend_port", &port),
        ] {
            (label, value).encode(out.encode_label())?;
        }
        self.also.map_or(Ok(()), |also| also.encode(out.encode_label()))
    }
}

fn one(value: &std::sync::atomic::AtomicU64) -> Vec<Sample> {
    vec![(None, value.load(Ordering::Relaxed))]
}

fn counts(balancer: &Balancer) -> &Counts {
    balancer.counts()
}

const FAMILIES: [Family; 7] = [
    Family {
        name: "outbound_http_balancer_endpoints",
        help: "The number of endpoints of a service, by state.",
        kind: MetricType::Gauge,
        series: |balancer| {
            let (ready, pending) = balancer.states();
            vec![
                (Some(("endpoint_state", "ready")), ready as u64),
                (Some(("endpoint_state", "pending")), pending as u64),
            ]
        },
    },
    Family {
        name: "outbound_http_balancer_p2c_endpoints",
        help: "The number of endpoints that requests are balanced over.",
        kind: MetricType::Gauge,
        series: |balancer| vec![(None, balancer.len() as u64)],
    },
    Family {
        name: "outbound_http_balancer_p2c_updates",
        help: "The number of endpoints that were added and removed.",
        kind: MetricType::Counter,
        series: |balancer| {
            let load = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
            vec![
                (Some(("op", "Add")), load(&counts(balancer).added)),
                (Some(("op", "Remove")), load(&counts(balancer).removed)),
            ]
        },
    },
    Family {
        name: "outbound_http_balancer_queue_length",
        help: "The number of requests that wait because no endpoint could be reached.",
        kind: MetricType::Gauge,
        series: |balancer| one(&counts(balancer).waiting),
    },
    Family {
        name: "outbound_http_balancer_queue_requests",
        help: "The number of requests that had to wait because no endpoint could be reached.",
        kind: MetricType::Counter,
        series: |balancer| one(&counts(balancer).waited),
    },
    Family {
        name: "outbound_http_balancer_queue_gate_shut",
        help: "How often requests began to fail at once because no endpoint answered.",
        kind: MetricType::Counter,
        series: |balancer| one(&counts(balancer).gate_shut),
    },
    Family {
        name: "outbound_http_balancer_queue_gate_open",
        help: "How often requests stopped failing at once.",
        kind: MetricType::Counter,
        series: |balancer| one(&counts(balancer).gate_opened),
    },
];

const SECONDS: [Seconds; 3] = [
    Seconds {
        name: "outbound_http_balancer_queue_gate_open_time_seconds",
        help: "The time since 1970 at which requests stopped failing at once; 0 while they do.",
        value: |balancer| counts(balancer).open_since(),
    },
    Seconds {
        name: "outbound_http_balancer_queue_gate_shut_time_seconds",
        help: "The time since 1970 at which requests began to fail at once; 0 while they do not.",
        value: |balancer| counts(balancer).shut_since(),
    },
    Seconds {
        name: "outbound_http_balancer_queue_gate_timeout_seconds",
        help: "How long a request waits until the next ones fail at once.",
        value: |_| FAILFAST_TIMEOUT,
    },
];
