//! `/api/tps-reports`: figures per resource.

use std::sync::Arc;

use weft_api::viz::{Failure, ResourceRef, ResourceType, StatRow};

use super::{
    App,
    ask::{Ask, bad_request, parse_type},
    rows::RowFigures,
};
use crate::{
    figures::Flow,
    query::{Filter, Level, Side, filters_of, label_of},
};

pub(crate) async fn tps_reports(app: Arc<App>, ask: Arc<Ask>) -> Result<Vec<StatRow>, Failure> {
    let kind = match ask.params.kind.as_deref() {
        None | Some("" | "all") => None,
        Some(text) => Some(parse_type("", text)?),
    };
    let levels = match kind {
        None => vec![Level::Workload, Level::Pod, Level::Service],
        Some(kind) => vec![level_of(kind)],
    };
    let tables = levels.into_iter().map(|level| table(&app, &ask, level, kind));
    ask.explain_none(futures::future::try_join_all(tables).await?.into_iter().flatten().collect())
}

pub(super) fn level_of(kind: ResourceType) -> Level {
    match kind {
        ResourceType::Namespace => Level::Namespace,
        ResourceType::Pod => Level::Pod,
        ResourceType::Service => Level::Service,
        _ => Level::Workload,
    }
}

async fn table(
    app: &App,
    ask: &Ask,
    level: Level,
    kind: Option<ResourceType>,
) -> Result<Vec<StatRow>, Failure> {
    let (to, from, selector) = (ask.to()?, ask.from()?, ask.selector()?);
    let (flow, side) = match (&to, &from) {
        (Some(_), Some(_)) => return Err(bad_request("Give to_… or from_…, not both.")),
        // A service receives traffic, and sends none.
        (Some(_), None) if level == Level::Service => return Ok(Vec::new()),
        (Some(to), None) => (Flow::outbound(filters_of(Side::Destination, to)), Side::Own),
        (None, Some(from)) => (Flow::outbound(ask.own_filters(from)), Side::Destination),
        (None, None) if level == Level::Service => (Flow::outbound(Vec::new()), Side::Destination),
        (None, None) => (Flow::inbound(Vec::new()), Side::Own),
    };
    let flow = only(flow, ask, side, kind);
    let by = [ask.grouping(side, level)];
    let span = ask.span();
    let (http, tcp) =
        futures::try_join!(ask.figures.http(span, &flow, &by), ask.figures.tcp(span, &flow, &by))?;
    let mut figures = RowFigures { http, tcp, ..RowFigures::default() };
    if level == Level::Service && from.is_none() {
        figures.reverse();
    }
    let resources = match (&to, &from) {
        (None, None) => existing(ask, level),
        _ => figures.resources(),
    };
    let wanted = |resource: &ResourceRef| {
        let is_of_kind = match kind {
            Some(kind) => resource.kind == kind,
            // Pods have rows of their own.
            None => level != Level::Workload || resource.kind != ResourceType::Pod,
        };
        is_of_kind
            && ask.namespace().is_none_or(|namespace| resource.namespace == namespace)
            && ask.params.name.as_deref().is_none_or(|name| name.is_empty() || resource.name == name)
            && selector.matches(&ask.view.labels_of(resource))
    };
    let resources: Vec<_> = resources.into_iter().filter(wanted).collect();
    if ask.params.spark == Some(true) {
        figures.sparks = ask.sparks(app, &flow, &by, resources.len()).await?;
    }
    Ok(resources.into_iter().map(|resource| figures.row(&ask.view, resource)).collect())
}

/// Leaves the choice of namespace and name to whoever answers, where it can.
fn only(mut flow: Flow, ask: &Ask, side: Side, kind: Option<ResourceType>) -> Flow {
    let label = |kind| label_of(side, kind);
    if let Some(namespace) = ask.namespace() {
        flow.filters.push(Filter::is(label(ResourceType::Namespace), namespace));
    }
    if let (Some(kind), Some(name)) = (kind, ask.params.name.as_deref())
        && kind != ResourceType::Namespace
        && !name.is_empty()
    {
        flow.filters.push(Filter::is(label(kind), name));
    }
    flow
}

/// All resources of a level, also those without traffic.
fn existing(ask: &Ask, level: Level) -> Vec<ResourceRef> {
    let view = &ask.view;
    match level {
        Level::Namespace => view.namespaces.iter().map(ResourceRef::namespace).collect(),
        Level::Workload => view.workloads.keys().cloned().collect(),
        Level::Pod => {
            let pod = |(namespace, name): &(String, String)| {
                ResourceRef::new(namespace.clone(), ResourceType::Pod, name.clone())
            };
            view.pods.keys().map(pod).collect()
        }
        Level::Service => {
            let service = |(namespace, name): &(String, String)| {
                ResourceRef::new(namespace.clone(), ResourceType::Service, name.clone())
            };
            view.services.keys().map(service).collect()
        }
    }
}
