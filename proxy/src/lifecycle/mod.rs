//! The life of a workload on this node: watched, enrolled, served, reconfigured, unenrolled, reported.
#![forbid(unsafe_code)]

mod draining;
mod enroll;
mod enrollment_lock;
mod netns_finder;
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

use self::spec::Spec;
pub use self::{
    draining::Draining,
    netns_finder::NetnsFinder,
    node_api::WatchConfig,
    report::StatusReporter,
    session::{Role, keep_session},
    supervisor::{Components, WorkloadSupervisor},
    watch::WorkloadWatch,
};
