//! `/api/edges`: connections with both identities.

use std::sync::Arc;

use weft_api::viz::{Edge, Failure, ResourceRef, ResourceType, Secured};

use super::{
    App, Ask,
    links::{Counts, LinkKey, Scope, links},
};
use crate::query::{Filter, Level, Side, filters_of, label_of};

pub(crate) async fn edges(app: Arc<App>, ask: Arc<Ask>) -> Result<Vec<Edge>, Failure> {
    // `type` without a name chooses what the ends of edges are.
    let kind = ask.params.kind.as_deref().filter(|kind| !kind.is_empty() && *kind != "all");
    if let (Some(kind), None) = (kind, ask.params.name.as_deref().filter(|name| !name.is_empty())) {
        let kind = super::ask::parse_type("", kind)?;
        let level = if kind == ResourceType::Pod { Level::Pod } else { Level::Workload };
        let edges = of(&app, &ask, ask.namespace().map(ResourceRef::namespace).as_ref(), level).await?;
        let is_of_kind = |end: &Option<ResourceRef>| end.as_ref().is_some_and(|end| end.kind == kind);
        let is_wanted = |edge: &Edge| {
            matches!(kind, ResourceType::Namespace | ResourceType::Service)
                || is_of_kind(&edge.source)
                || is_of_kind(&edge.destination)
        };
        return ask.explain_none(edges.into_iter().filter(is_wanted).collect());
    }
    let resource = ask.resource()?;
    let level = match &resource {
        Some(resource) if resource.kind == ResourceType::Pod => Level::Pod,
        _ => Level::Workload,
    };
    ask.explain_none(of(&app, &ask, resource.as_ref(), level).await?)
}

/// The edges of one resource, or all.
pub(super) async fn of(
    app: &App,
    ask: &Ask,
    resource: Option<&ResourceRef>,
    level: Level,
) -> Result<Vec<Edge>, Failure> {
    let edge = |(key, counts): (LinkKey, Counts)| edge(app, ask, key, counts);
    Ok(links(ask, &scope(ask, resource, level)).await?.into_iter().map(edge).collect())
}

fn scope(ask: &Ask, resource: Option<&ResourceRef>, level: Level) -> Scope {
    let (outbound, inbound) = match resource {
        None => (vec![Vec::new()], Some(Vec::new())),
        Some(resource) if resource.kind == ResourceType::Service => {
            (vec![filters_of(Side::Destination, resource)], None)
        }
        Some(resource) => {
            let own = filters_of(Side::Own, resource);
            (vec![own.clone(), filters_of(Side::Destination, resource)], Some(own))
        }
    };
    Scope { outbound, inbound, level, addresses: true, seconds: ask.window.length().as_secs() }
}

fn edge(app: &App, ask: &Ask, key: LinkKey, counts: Counts) -> Edge {
    let outside = if key.is_from_node() { "the node" } else { "not meshed" };
    let has_identities = matches!(key.secured, Secured::Mtls | Secured::SameNode);
    let client = key.source.as_ref().filter(|_| has_identities);
    let client = client.and_then(|source| app.cluster.identities(&ask.view, source).into_iter().next());
    Edge {
        source_label: key.source.is_none().then(|| outside.to_owned()),
        destination_label: key.destination.is_none().then(|| key.address.unwrap_or_else(|| "outside".into())),
        source: key.source,
        destination: key.destination,
        client_id: client,
        server_id: key.server_id,
        secured: key.secured,
        open_connections: counts.open.round(),
    }
}

/// The filters of a namespace at one side.
pub(super) fn in_namespace(side: Side, namespace: &str) -> Vec<Filter> {
    vec![Filter::is(label_of(side, ResourceType::Namespace), namespace)]
}
