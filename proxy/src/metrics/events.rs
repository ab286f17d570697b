//! Counts authorization decisions and errors.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
    metrics::MetricType,
};

use super::{
    Limits,
    intern::{Interner, Series},
    labels::{DecisionLabels, ErrorLabels, WorkloadLabels},
    transport::describe,
};
use crate::net::Direction;

/// The authorization result of an inbound connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthzOutcome {
    Allow,
    Deny,
    /// The connection was allowed, and terminated when policy changed.
    Terminate,
}

/// Counters of events that happen at most once per connection.
#[derive(Debug)]
pub(super) struct Events {
    authz: Interner<DecisionLabels, Authz>,
    http_authz: Interner<DecisionLabels, Authz>,
    http_inbound_errors: Interner<ErrorLabels, Count>,
    http_outbound_errors: Interner<ErrorLabels, Count>,
    inbound_errors: Interner<ErrorLabels, Count>,
    outbound_errors: Interner<ErrorLabels, Count>,
    /// Counts events whose label set found no room.
    overflow: Overflow,
}

#[derive(Debug, Default)]
struct Overflow {
    authz: Arc<Authz>,
    http_authz: Arc<Authz>,
    http_inbound_errors: Arc<Count>,
    http_outbound_errors: Arc<Count>,
    inbound_errors: Arc<Count>,
    outbound_errors: Arc<Count>,
}

#[derive(Debug, Default)]
struct Count(AtomicU64);

/// Counters of authorization decisions with one set of labels.
#[derive(Debug, Default)]
pub struct Authz {
    allow: AtomicU64,
    deny: AtomicU64,
    terminate: AtomicU64,
}

impl Events {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            authz: Interner::new(limits.label_sets / 4, limits.idle),
            http_authz: Interner::new(limits.label_sets / 4, limits.idle),
            http_inbound_errors: Interner::new(limits.label_sets / 8, limits.idle),
            http_outbound_errors: Interner::new(limits.label_sets / 8, limits.idle),
            inbound_errors: Interner::new(limits.label_sets / 8, limits.idle),
            outbound_errors: Interner::new(limits.label_sets / 8, limits.idle),
            overflow: Overflow::default(),
        }
    }

    pub(super) fn authz(&self, outcome: AuthzOutcome, labels: &DecisionLabels) {
        // A denied connection has no authorization. Two label sets with the same text would make the scrape invalid.
        let denied = (outcome == AuthzOutcome::Deny && labels.authz.is_some())
            .then(|| DecisionLabels { authz: None, ..labels.clone() });
        let labels = denied.as_ref().unwrap_or(labels);
        let counters = self.authz.get(labels).unwrap_or_else(|| self.overflow.authz.clone());
        counters.of(outcome).fetch_add(1, Ordering::Relaxed);
    }

    /// The counters of decisions on requests. To be looked up once per connection and policy.
    pub(super) fn http_authz(&self, labels: &DecisionLabels) -> Arc<Authz> {
        self.http_authz.get(labels).unwrap_or_else(|| self.overflow.http_authz.clone())
    }

    pub(super) fn http_error(
        &self,
        direction: Direction,
        workload: &Arc<WorkloadLabels>,
        error: &'static str,
    ) {
        let (errors, overflow) = match direction {
            Direction::Inbound => (&self.http_inbound_errors, &self.overflow.http_inbound_errors),
            Direction::Outbound => (&self.http_outbound_errors, &self.overflow.http_outbound_errors),
        };
        let counter = errors.get(&ErrorLabels { workload: workload.clone(), error });
        counter.unwrap_or_else(|| overflow.clone()).0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, direction: Direction, workload: &Arc<WorkloadLabels>, error: &'static str) {
        let (errors, overflow) = match direction {
            Direction::Inbound => (&self.inbound_errors, &self.overflow.inbound_errors),
            Direction::Outbound => (&self.outbound_errors, &self.overflow.outbound_errors),
        };
        let counter = errors.get(&ErrorLabels { workload: workload.clone(), error });
        counter.unwrap_or_else(|| overflow.clone()).0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn overflow(&self) -> u64 {
        self.authz.overflow()
            + self.http_authz.overflow()
            + self.inbound_errors.overflow()
            + self.outbound_errors.overflow()
            + self.http_inbound_errors.overflow()
            + self.http_outbound_errors.overflow()
    }
}

impl Authz {
    pub fn count(&self, outcome: AuthzOutcome) {
        self.of(outcome).fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, outcome: AuthzOutcome) -> &AtomicU64 {
        match outcome {
            AuthzOutcome::Allow => &self.allow,
            AuthzOutcome::Deny => &self.deny,
            AuthzOutcome::Terminate => &self.terminate,
        }
    }
}

impl Count {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Series for Count {
    fn fingerprint(&self) -> u64 {
        self.get()
    }
}

impl Series for Authz {
    fn fingerprint(&self) -> u64 {
        // Every change adds one.
        [&self.allow, &self.deny, &self.terminate].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

// === encoding ===

impl Collector for Events {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let authz = self.authz.snapshot();
        for (outcome, name, help) in AUTHZ {
            let counts = authz.iter().map(|(labels, counters)| {
                (DecisionLabels::clone(labels), counters.of(outcome).load(Ordering::Relaxed))
            });
            let overflow = self.overflow.authz.of(outcome).load(Ordering::Relaxed);
            write(&mut encoder, name, help, counts, overflow)?;
        }
        let authz = self.http_authz.snapshot();
        for (outcome, name, help) in HTTP_AUTHZ {
            let counts = authz.iter().map(|(labels, counters)| {
                (DecisionLabels::clone(labels), counters.of(outcome).load(Ordering::Relaxed))
            });
            let overflow = self.overflow.http_authz.of(outcome).load(Ordering::Relaxed);
            write(&mut encoder, name, help, counts, overflow)?;
        }
        for (errors, overflow, name, help) in [
            (&self.inbound_errors, &self.overflow.inbound_errors, "inbound_tcp_errors", INBOUND_ERRORS),
            (&self.outbound_errors, &self.overflow.outbound_errors, "outbound_tcp_errors", OUTBOUND_ERRORS),
            (
                &self.http_inbound_errors,
                &self.overflow.http_inbound_errors,
                "inbound_http_errors",
                "The total number of inbound HTTP requests that could not be processed.",
            ),
            (
                &self.http_outbound_errors,
                &self.overflow.http_outbound_errors,
                "outbound_http_errors",
                "The total number of outbound HTTP requests that could not be processed.",
            ),
        ] {
            let errors = errors.snapshot();
            let counts = errors.iter().map(|(labels, count)| (ErrorLabels::clone(labels), count.get()));
            write(&mut encoder, name, help, counts, overflow.get())?;
        }
        Ok(())
    }
}

fn write<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: impl Iterator<Item = (L, u64)>,
    overflow: u64,
) -> fmt::Result {
    let mut family = describe(encoder, name, help, MetricType::Counter)?;
    for (labels, count) in counts.filter(|(_, count)| *count > 0) {
        family.encode_family(&labels)?.encode_counter::<L, u64, u64>(&count, None)?;
    }
    if overflow > 0 {
        let labels = [("overflow", "true")];
        family.encode_family(&labels)?.encode_counter::<L, u64, u64>(&overflow, None)?;
    }
    Ok(())
}

const AUTHZ: [(AuthzOutcome, &str, &str); 3] = [
    (
        AuthzOutcome::Allow,
        "inbound_tcp_authz_allow",
        "The total number of inbound TCP connections that were authorized.",
    ),
    (
        AuthzOutcome::Deny,
        "inbound_tcp_authz_deny",
        "The total number of inbound TCP connections that were denied.",
    ),
    (
        AuthzOutcome::Terminate,
        "inbound_tcp_authz_terminate",
        "The total number of inbound TCP connections that were terminated because policy changed.",
    ),
];
const HTTP_AUTHZ: [(AuthzOutcome, &str, &str); 2] = [
    (
        AuthzOutcome::Allow,
        "inbound_http_authz_allow",
        "The total number of inbound HTTP requests that were authorized.",
    ),
    (
        AuthzOutcome::Deny,
        "inbound_http_authz_deny",
        "The total number of inbound HTTP requests that were denied.",
    ),
];
const INBOUND_ERRORS: &str = "The total number of inbound TCP connections that could not be served.";
const OUTBOUND_ERRORS: &str = "The total number of outbound TCP connections that could not be served.";
