//! Problems of the mesh itself: certificates, nodes without a proxy, pods that are not served.

use std::collections::BTreeMap;

use weft_api::viz::{
    CertificateKind, Failure, PodProxyState, ProblemKind, ResourceRef, ResourceType, Severity, Source,
};

use super::{Found, name_of};
use crate::{
    api::{
        App, Ask,
        nodes::{is_late, not_scraped_text, proxy_metrics},
        pods::proxy,
    },
    query::{Kind, Query, get},
};

const DAY: f64 = 86_400.0;
/// Authorities, and the certificates of workloads.
const LIMITS: [(f64, f64); 2] = [(60.0 * DAY, DAY), (3600.0, 600.0)];
/// A pod that has just started may not be served yet, in seconds.
const JOINING: f64 = 30.0;

/// Certificates that expire soon.
pub(super) async fn certificates(ask: &Ask) -> Result<Vec<Found>, Failure> {
    let run = |metric, by: &[&'static str]| {
        let query = Query::new(metric, Kind::Min).by(by.iter().copied());
        async move { ask.figures.instant(&query, ask.at).await }
    };
    let (anchors, issuer, workloads) = futures::try_join!(
        run("weft_control_trust_anchor_expiration_timestamp_seconds", &[]),
        run("weft_control_issuer_expiration_timestamp_seconds", &[]),
        run("control_identity_cert_expiration_timestamp_seconds", &["identity", "node"]),
    )?;
    let mut found = Vec::new();
    for (samples, what) in [
        (anchors, CertificateKind::Anchor),
        (issuer, CertificateKind::Issuer),
        (workloads, CertificateKind::Workload),
    ] {
        let (warn, critical) = LIMITS[usize::from(what == CertificateKind::Workload)];
        for sample in samples.iter() {
            let left = sample.value - ask.at as f64;
            // 0 is no certificate at all.
            if sample.value <= 0.0 || left >= warn {
                continue;
            }
            let label = |name| Some(get(&sample.labels, name).to_owned()).filter(|text| !text.is_empty());
            let (identity, node) = (label("identity"), label("node"));
            let name = match what {
                CertificateKind::Anchor => "A trust anchor".to_owned(),
                CertificateKind::Issuer => "The issuer's certificate".to_owned(),
                CertificateKind::Workload => {
                    format!("The certificate of {}", identity.clone().unwrap_or_default())
                }
            };
            let when = if left <= 0.0 { "has expired" } else { "expires soon" };
            found.push(Found {
                id: format!(
                    "certificate:{what:?}:{}:{}",
                    identity.as_deref().unwrap_or_default(),
                    node.as_deref().unwrap_or_default()
                ),
                severity: if left < critical { Severity::Critical } else { Severity::Warning },
                summary: format!("{name} {when}."),
                kind: ProblemKind::Certificate { what, identity, node, expires_at: sample.value },
                since: None,
                weight: 0.0,
            });
        }
    }
    Ok(found)
}

/// Nodes whose proxy is missing or not scraped, and pods that are not served.
pub(super) async fn nodes_and_pods(app: &App, ask: &Ask) -> Result<Vec<Found>, Failure> {
    let configs = async { Ok(app.proxies.configs(&ask.view).await) };
    let (metrics, configs) = futures::try_join!(proxy_metrics(ask), configs)?;
    let addresses = app.proxies.addresses(&ask.view);
    let mut meshed: BTreeMap<&str, u32> = BTreeMap::new();
    for pod in ask.view.pods.values().filter(|pod| pod.meshed) {
        if let Some(node) = &pod.node {
            *meshed.entry(node).or_default() += 1;
        }
    }
    let mut found = Vec::new();
    for (&node, &pods) in &meshed {
        let last = metrics.scraped.get(node).copied();
        if !addresses.contains_key(node) {
            found.push(Found {
                id: format!("node-without-proxy:{node}"),
                severity: Severity::Critical,
                summary: format!("Node {node} has no proxy, but {pods} meshed pods."),
                kind: ProblemKind::NodeWithoutProxy {
                    node: node.to_owned(),
                    meshed_pods: pods,
                    last_seen_at: last,
                },
                since: None,
                weight: f64::from(pods),
            });
            continue;
        }
        if is_late(app, ask, last) && ask.figures.source() == Source::Prometheus {
            ask.warn("node_not_scraped", not_scraped_text(node));
            found.push(Found {
                id: format!("node-not-scraped:{node}"),
                severity: Severity::Warning,
                summary: format!("Prometheus does not scrape the proxy of node {node}."),
                kind: ProblemKind::NodeNotScraped { node: node.to_owned(), last_scrape_at: last },
                since: None,
                weight: f64::from(pods),
            });
        }
    }
    for pod in ask.view.pods.values().filter(|pod| pod.is_running()) {
        let (Some(status), Some(node)) = (proxy(pod, &configs), &pod.node) else { continue };
        let is_old = pod.started_at.is_none_or(|started| ask.at as f64 - started > JOINING);
        let is_problem = match status.state {
            PodProxyState::Refused => true,
            PodProxyState::Joining => is_old,
            // A node without a proxy is a problem of its own.
            PodProxyState::Served | PodProxyState::Leaving | PodProxyState::NoProxy => false,
        };
        if is_problem {
            let resource = ResourceRef::new(&pod.namespace, ResourceType::Pod, &pod.name);
            let reason = status.reason.unwrap_or_else(|| "its proxy gives no reason".into());
            found.push(Found {
                id: format!("pod-not-served:{resource}"),
                severity: Severity::Warning,
                summary: format!("{} is to be meshed, and is not: {reason}.", name_of(&resource)),
                kind: ProblemKind::PodNotServed { resource, node: node.clone(), reason },
                since: None,
                weight: 1.0,
            });
        }
    }
    Ok(found)
}
