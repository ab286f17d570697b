//! `/api/pods` and `/api/services`.

use std::{collections::BTreeMap, sync::Arc};

use weft_api::viz::{Failure, PodItem, PodProxy, PodProxyState, ResourceRef, ResourceType, ServiceItem};

use super::{App, Ask, rows::RowFigures};
use crate::{
    cluster::PodView,
    figures::Flow,
    proxies::ProxyConfig,
    query::{Filter, Level, Side, label_of},
};

pub(crate) async fn pods(app: Arc<App>, ask: Arc<Ask>) -> Result<Vec<PodItem>, Failure> {
    let chosen: Vec<_> = match ask.namespace() {
        Some(namespace) => ask.view.in_namespace(namespace).cloned().collect(),
        None => ask.view.pods.values().cloned().collect(),
    };
    let node = ask.params.node.as_deref().filter(|node| !node.is_empty());
    let chosen = chosen.into_iter().filter(|pod| node.is_none_or(|node| pod.node.as_deref() == Some(node)));
    let filters =
        ask.namespace().map(|namespace| Filter::is(label_of(Side::Own, ResourceType::Namespace), namespace));
    let sparks = ask.params.spark == Some(true);
    items(&app, &ask, chosen.collect(), filters.into_iter().collect(), sparks).await
}

pub(crate) async fn services(_: Arc<App>, ask: Arc<Ask>) -> Result<Vec<ServiceItem>, Failure> {
    let wanted = ask.namespace();
    let services = ask.view.services.iter();
    let services = services.filter(|((namespace, _), _)| wanted.is_none_or(|wanted| wanted == namespace));
    let item =
        |((namespace, name), service): (&(String, String), &crate::cluster::ServiceView)| ServiceItem {
            namespace: namespace.clone(),
            name: name.clone(),
            cluster_ip: service.cluster_ip.clone(),
            ports: service.ports.clone(),
        };
    Ok(services.map(item).collect())
}

/// The pods with their figures, and small charts if they are wanted. `filters` choose the figures, and may choose more
/// than needed.
pub(super) async fn items(
    app: &App,
    ask: &Ask,
    pods: Vec<Arc<PodView>>,
    filters: Vec<Filter>,
    sparks: bool,
) -> Result<Vec<PodItem>, Failure> {
    let (flow, by, span) = (Flow::inbound(filters), [ask.grouping(Side::Own, Level::Pod)], ask.span());
    let configs = async { Ok(app.proxies.configs(&ask.view).await) };
    let courses = ask.sparks(app, &flow, &by, if sparks { pods.len() } else { 0 });
    let http = ask.figures.http(span, &flow, &by);
    let (http, tcp, sparks, configs) =
        futures::try_join!(http, ask.figures.tcp(span, &flow, &by), courses, configs)?;
    let figures = RowFigures { http, tcp, sparks };
    let item = |pod: Arc<PodView>| {
        let ends = vec![Some(ResourceRef::new(&pod.namespace, ResourceType::Pod, &pod.name))];
        PodItem {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            owner: pod.owner.clone(),
            node: pod.node.clone(),
            phase: pod.phase.clone(),
            ready: pod.ready,
            started_at: pod.started_at,
            meshed: pod.meshed,
            proxy: proxy(&pod, &configs),
            tap: pod.tap,
            http: figures.http.get(&ends).cloned(),
            tcp: Some(figures.tcp.get(&ends).copied().unwrap_or_default()),
            spark: figures.sparks.get(&ends).cloned(),
        }
    };
    Ok(pods.into_iter().map(item).collect())
}

/// What the node's proxy says about a pod.
pub(super) fn proxy(pod: &PodView, configs: &BTreeMap<String, ProxyConfig>) -> Option<PodProxy> {
    if let Some(obstacle) = &pod.obstacle {
        return Some(PodProxy { state: PodProxyState::Refused, reason: Some(obstacle.clone()) });
    }
    if !pod.meshed {
        return None;
    }
    let none = |reason: String| Some(PodProxy { state: PodProxyState::NoProxy, reason: Some(reason) });
    let Some(node) = &pod.node else { return none("it is on no node yet".into()) };
    let Some(config) = configs.get(node) else {
        return none(format!("node {node} has no proxy that answers"));
    };
    let Some(status) = config.workloads.get(&format!("{}/{}", pod.namespace, pod.name)) else {
        return Some(PodProxy {
            state: PodProxyState::Joining,
            reason: Some("its proxy does not know it yet".into()),
        });
    };
    let state = match status.state.as_str() {
        "SERVED" => PodProxyState::Served,
        "LEAVING" => PodProxyState::Leaving,
        "REFUSED" => PodProxyState::Refused,
        _ => PodProxyState::Joining,
    };
    Some(PodProxy { state, reason: Some(status.reason.clone()).filter(|reason| !reason.is_empty()) })
}
