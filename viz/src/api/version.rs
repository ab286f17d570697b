//! `/api/version`, `/api/extensions` and `/api/gateways`.

use std::sync::Arc;

use weft_api::viz::{ExtensionItem, Failure, GatewayItem, PrometheusInfo, VersionInfo};

use super::{App, Ask};

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

pub(crate) async fn extensions(app: Arc<App>, _: Arc<Ask>) -> Result<Vec<ExtensionItem>, Failure> {
    Ok(vec![ExtensionItem {
        name: "viz".into(),
        description: "Figures, live calls and this dashboard".into(),
        installed: true,
        namespace: Some(app.settings.viz_namespace.clone()),
        version: Some(env!("CARGO_PKG_VERSION").into()),
        install: None,
    }])
}

/// weft has no gateways between clusters.
pub(crate) async fn gateways(_: Arc<App>, _: Arc<Ask>) -> Result<Vec<GatewayItem>, Failure> {
    Ok(Vec::new())
}
