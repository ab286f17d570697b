//! `/api/version`, `/api/extensions` and `/api/gateways`.

use std::{collections::BTreeSet, sync::Arc};

use weft_api::viz::{ExtensionItem, Failure, GatewayItem, PrometheusInfo, ResourceRef, VersionInfo};

use super::{App, Ask};

const EXTENSION_LABEL: &str = "linkerd.io/extension";
const VIZ: &str = "viz";

pub(crate) async fn version(app: Arc<App>, _: Arc<Ask>) -> Result<VersionInfo, Failure> {
    let settings = &app.settings;
    let available = app.sources.has_prometheus().await;
    let retention_seconds = if available { app.sources.retention().await.ok().flatten() } else { None };
    let prometheus = PrometheusInfo { available, retention_seconds };
    Ok(VersionInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        cluster_domain: app.cluster.mesh.cluster_domain.clone(),
        control_plane_namespace: app.cluster.mesh.control_plane_namespace.clone(),
        viz_namespace: settings.viz_namespace.clone(),
        source: app.cluster.source(),
        prometheus,
        grafana: settings.grafana.clone(),
        cli: settings.cli.clone(),
    })
}

/// Extensions label their namespaces with their names. This one is installed even if nobody has labelled its own.
pub(crate) async fn extensions(app: Arc<App>, ask: Arc<Ask>) -> Result<Vec<ExtensionItem>, Failure> {
    let own = (VIZ.to_owned(), app.settings.viz_namespace.clone());
    let labelled = ask.view.namespaces.iter().filter_map(|namespace| {
        let label = ask.view.labels_of(&ResourceRef::namespace(namespace)).remove(EXTENSION_LABEL)?;
        Some((label, namespace.clone()))
    });
    let found: BTreeSet<_> = labelled.filter(|(name, _)| name != VIZ).chain([own]).collect();
    Ok(found.into_iter().map(|(name, namespace)| extension(name, namespace)).collect())
}

fn extension(name: String, namespace: String) -> ExtensionItem {
    let is_own = name == VIZ;
    let description = match is_own {
        true => "Figures, live calls and this dashboard".to_owned(),
        false => format!("The namespace {namespace} has its label"),
    };
    let version = is_own.then(|| env!("CARGO_PKG_VERSION").to_owned());
    ExtensionItem { name, description, installed: true, namespace: Some(namespace), version, install: None }
}

/// weft has no gateways between clusters.
pub(crate) async fn gateways(_: Arc<App>, _: Arc<Ask>) -> Result<Vec<GatewayItem>, Failure> {
    Ok(Vec::new())
}
