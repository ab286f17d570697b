//! `/api/resource/NAMESPACE/TYPE/NAME` and `/api/resource-definition`: everything about one resource.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use weft_api::viz::{
    Failure, PathStats, ResourceDefinition, ResourceDetail, ResourceRef, ResourceType, StatRow, TapState,
};

use super::{App, Ask, authz, edges, pods, rows::RowFigures, stats::level_of};
use crate::{
    cluster::{PodView, common_labels},
    figures::{Flow, MAX_SPARK_VALUES},
    query::{Grouping, Level, Side, filters_of},
};

const MAX_WORST: usize = 10;

pub(crate) async fn detail(app: Arc<App>, ask: Arc<Ask>) -> Result<ResourceDetail, Failure> {
    let resource = ask.needed_resource()?;
    ask.must_exist(&resource)?;
    let members = ask.view.pods_of(&resource);
    let (own, far) = (ask.own_filters(&resource), filters_of(Side::Destination, &resource));
    let level = level_of(resource.kind);
    let (flow, by) = match level {
        Level::Service => (Flow::outbound(far.clone()), ask.grouping(Side::Destination, level)),
        _ => (Flow::inbound(own.clone()), ask.grouping(Side::Own, level)),
    };
    let row = row(&app, &ask, &resource, flow, by);
    let sources = neighbours(&app, &ask, Flow::outbound(far), Side::Own);
    let targets = async {
        match level {
            // A service sends nothing.
            Level::Service => Ok(Vec::new()),
            _ => neighbours(&app, &ask, Flow::outbound(own.clone()), Side::Destination).await,
        }
    };
    let edge_level = if level == Level::Pod { Level::Pod } else { Level::Workload };
    let seconds = ask.window.length().as_secs_f64();
    let worst = async { Ok(worst_of(&app, &ask, &members, seconds).await) };
    let (row, inbound, outbound, pods, edges, authorizations, worst) = futures::try_join!(
        row,
        sources,
        targets,
        pods::items(&app, &ask, members.clone(), own.clone(), true),
        edges::of(&app, &ask, Some(&resource), edge_level),
        authz::of(&ask, Some(&resource)),
        worst,
    )?;
    Ok(ResourceDetail {
        row,
        identities: app.cluster.identities(&ask.view, &resource),
        labels: shown_labels(&members),
        inbound,
        outbound,
        split: Vec::new(),
        pods,
        edges,
        authorizations,
        worst,
        tap: tap(&members),
    })
}

pub(crate) async fn definition(app: Arc<App>, ask: Arc<Ask>) -> Result<ResourceDefinition, Failure> {
    let (yaml, file) = app.cluster.definition(&ask.needed_resource()?).await?;
    Ok(ResourceDefinition { yaml, file: file.map(|path| path.display().to_string()) })
}

async fn row(
    app: &App,
    ask: &Ask,
    resource: &ResourceRef,
    flow: Flow,
    by: Grouping,
) -> Result<StatRow, Failure> {
    let by = [by];
    let (http, tcp, sparks) = futures::try_join!(
        ask.figures.http(ask.span(), &flow, &by),
        ask.figures.tcp(ask.span(), &flow, &by),
        ask.figures.sparks(ask.resolution(app, MAX_SPARK_VALUES), &flow, &by),
    )?;
    let mut figures = RowFigures { http, tcp, sparks };
    if resource.kind == ResourceType::Service {
        figures.reverse();
    }
    Ok(figures.row(&ask.view, resource.clone()))
}

/// The other ends of a flow, with the figures of the traffic between the two.
async fn neighbours(app: &App, ask: &Ask, flow: Flow, side: Side) -> Result<Vec<StatRow>, Failure> {
    let by = [ask.grouping(side, Level::Workload)];
    let (http, tcp) = futures::try_join!(
        ask.figures.http(ask.span(), &flow, &by),
        ask.figures.tcp(ask.span(), &flow, &by)
    )?;
    let sparks = ask.sparks(app, &flow, &by, http.len()).await?;
    let figures = RowFigures { http, tcp, sparks };
    let rows = figures.resources().into_iter().map(|resource| figures.row(&ask.view, resource));
    // What had connections once still has series for a while.
    let is_active = |row: &StatRow| {
        row.http.is_some()
            || row.tcp.is_some_and(|tcp| {
                tcp.open_connections + tcp.read_bytes_per_second + tcp.write_bytes_per_second > 0.0
            })
    };
    Ok(rows.filter(is_active).collect())
}

/// The methods and paths with the most failures in the last `seconds`, of all pods together.
pub(super) async fn worst_of(app: &App, ask: &Ask, pods: &[Arc<PodView>], seconds: f64) -> Vec<PathStats> {
    let table = app.proxies.worst(&ask.view).await;
    let mut sums: HashMap<(String, String), (u64, u64)> = HashMap::new();
    for pod in pods {
        let Some(rows) = table.get(&(pod.namespace.clone(), pod.name.clone())) else { continue };
        for row in app.worst.within(seconds, rows) {
            let sum = sums.entry((row.method, row.path)).or_default();
            sum.0 += row.requests;
            sum.1 += row.failures;
        }
    }
    let stats = |((method, path), (requests, failures))| PathStats { method, path, requests, failures };
    let mut all: Vec<_> = sums.into_iter().map(stats).collect();
    all.sort_by(|a, b| b.failures.cmp(&a.failures).then_with(|| a.path.cmp(&b.path)));
    all.truncate(MAX_WORST);
    all
}

/// Labels that all pods have in common, without those that only tell generations of a workload apart.
fn shown_labels(pods: &[Arc<PodView>]) -> BTreeMap<String, String> {
    let mut labels = common_labels(pods);
    labels.retain(|name, _| {
        !matches!(name.as_str(), "pod-template-hash" | "controller-revision-hash" | "pod-template-generation")
    });
    labels
}

/// Live calls can be seen if one pod allows it.
fn tap(pods: &[Arc<PodView>]) -> TapState {
    let has = |state| pods.iter().any(|pod| pod.tap == state);
    match () {
        () if has(TapState::Allowed) => TapState::Allowed,
        () if has(TapState::Disabled) => TapState::Disabled,
        () => TapState::NotMeshed,
    }
}

/// The resource that the path of a call names.
pub(crate) fn of_path(
    namespace: String,
    kind: &str,
    name: String,
) -> Result<[(&'static str, String); 3], Failure> {
    let kind: ResourceType = super::ask::parse_type("", kind)?;
    Ok([("namespace", namespace), ("type", kind.to_string()), ("name", name)])
}
