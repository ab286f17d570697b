//! The calls of the dashboard's API: docs/viz-api.md.

mod ask;
mod authz;
mod check;
mod control_plane;
mod detail;
mod edges;
mod links;
mod nodes;
mod outbound;
mod overview;
mod pods;
mod policy;
mod problems;
mod resources;
mod route_metrics;
mod route_sparks;
mod routes;
mod rows;
mod stats;
mod timeseries;
mod topology;
mod version;
mod warnings;

use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use self::{
    ask::{Ask, Params, parse_query},
    authz::authz,
    check::check,
    control_plane::control_plane,
    detail::{definition, detail, of_path},
    edges::edges,
    nodes::nodes,
    outbound::outbound,
    overview::overview,
    pods::{pods, services},
    policy::policy_reports,
    problems::History,
    resources::resources,
    routes::routes,
    stats::tps_reports,
    timeseries::timeseries,
    topology::topology,
    version::{extensions, gateways, version},
    warnings::{prepare, warn},
};
use crate::{
    cluster::Cluster,
    config::Settings,
    figures::Sources,
    metrics::Metrics,
    proxies::{Proxies, WorstHistory},
    taps::Taps,
};

/// What answers come from.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) sources: Arc<Sources>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) worst: Arc<WorstHistory>,
    pub(crate) settings: Settings,
    pub(crate) history: Mutex<History>,
    pub(crate) taps: Arc<dyn Taps>,
    pub(crate) metrics: Metrics,
}
