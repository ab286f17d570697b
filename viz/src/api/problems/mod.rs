//! What is wrong now.

mod before;
mod health;
mod history;
mod traffic;

use weft_api::viz::{Failure, Problem, ProblemKind, ResourceRef, Severity};

pub(crate) use self::history::History;
use super::{App, Ask};
use crate::cluster::ClusterView;

/// A problem before it is known how long it has lasted.
pub(super) struct Found {
    pub(super) id: String,
    pub(super) severity: Severity,
    pub(super) summary: String,
    pub(super) kind: ProblemKind,
    /// When it began, if the figures say so. The inner `None` is before the history.
    pub(super) since: Option<Option<f64>>,
    /// How many requests or pods it concerns.
    pub(super) weight: f64,
}

/// All problems, the worst first.
pub(super) async fn problems(app: &App, ask: &Ask) -> Result<Vec<Problem>, Failure> {
    let (rates, denied, plaintext, certificates, nodes) = futures::try_join!(
        traffic::rates_and_latencies(app, ask),
        traffic::denied(app, ask),
        traffic::plaintext(ask),
        health::certificates(ask),
        health::nodes_and_pods(app, ask),
    )?;
    let found = rates.into_iter().chain(denied).chain(certificates).chain(nodes).chain(plaintext);
    Ok(app.history.lock().update(ask.at as f64, found.collect()))
}

/// Whether a workload has meshed pods.
pub(super) fn is_meshed(view: &ClusterView, workload: &ResourceRef) -> bool {
    view.pods_of(workload).iter().any(|pod| pod.meshed)
}

fn name_of(resource: &ResourceRef) -> String {
    format!("{} {}/{}", resource.kind, resource.namespace, resource.name)
}
