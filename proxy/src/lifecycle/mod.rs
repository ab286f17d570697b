//! The life of a workload on this node: watched, enrolled, served, reconfigured, unenrolled, reported.
#![forbid(unsafe_code)]

mod admission;
mod admission_metrics;
mod announcements;
mod draining;
mod earlier;
mod enroll;
mod enrollment_lock;
mod locate;
mod netns_owner;
mod node_api;
mod previous;
mod report;
mod serve;
mod session;
mod spec;
mod supervisor;
mod takeover;
mod terminated;
mod unenroll;
mod watch;
mod workload_metrics;

use self::spec::Spec;
pub use self::{
    admission_metrics::{AdmissionCollector, Admissions},
    draining::Draining,
    earlier::{EarlierCollector, EarlierMetrics},
    locate::{NetnsFinder, Sandboxes},
    node_api::WatchConfig,
    report::StatusReporter,
    session::{Role, keep_session},
    supervisor::{Components, WorkloadSupervisor},
    watch::WorkloadWatch,
    workload_metrics::WorkloadCollector,
};
