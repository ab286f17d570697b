//! `/api/control-plane`: components, certificates, and meshed pods per namespace.

use std::sync::Arc;

use weft_api::viz::{CertificateInfo, ComponentItem, ComponentPod, ControlPlane, Failure};

use super::{App, Ask, nodes::per_namespace};
use crate::{
    certificates,
    query::{Kind, Query, get},
};

pub(crate) async fn control_plane(app: Arc<App>, ask: Arc<Ask>) -> Result<ControlPlane, Failure> {
    let pods: Vec<_> = ask.view.pods.values().cloned().collect();
    let control = app.cluster.mesh.control_plane_namespace.as_str();
    let mut namespaces = vec![control];
    if app.settings.viz_namespace != control {
        namespaces.push(&app.settings.viz_namespace);
    }
    let components = match app.cluster.components(&namespaces).await {
        Some(found) => found?.to_vec(),
        None => processes(&app, &ask).await?,
    };
    let settings = &app.settings;
    let (issuer, anchors) = futures::try_join!(
        certificates_of(
            &ask,
            settings.issuer_certificate.as_deref(),
            "weft_control_issuer_expiration_timestamp_seconds",
            "issuer",
        ),
        certificates_of(
            &ask,
            settings.trust_anchors.as_deref(),
            "weft_control_trust_anchor_expiration_timestamp_seconds",
            "trust anchor",
        ),
    )?;
    Ok(ControlPlane {
        components,
        namespaces: per_namespace(&pods),
        issuer: issuer.into_iter().next(),
        anchors,
    })
}

/// The certificates in a file, or what weft-control's metrics say of them: Secrets are not for the dashboard.
async fn certificates_of(
    ask: &Ask,
    file: Option<&std::path::Path>,
    metric: &'static str,
    subject: &str,
) -> Result<Vec<CertificateInfo>, Failure> {
    if file.is_some() {
        return Ok(read(file, ask));
    }
    let samples = ask.figures.instant(&Query::new(metric, Kind::Min), ask.at).await?;
    let known = samples.iter().filter(|sample| sample.value > 0.0);
    let info = |sample: &crate::query::Sample| CertificateInfo {
        subject: subject.to_owned(),
        not_before: 0.0,
        expires_at: sample.value,
    };
    Ok(known.map(info).collect())
}

fn read(path: Option<&std::path::Path>, ask: &Ask) -> Vec<CertificateInfo> {
    let Some(path) = path else { return Vec::new() };
    certificates::read(path).unwrap_or_else(|error| {
        ask.warn("certificates_unknown", format!("{}: {error}", path.display()));
        Vec::new()
    })
}

/// Without Kubernetes: the processes that are scraped.
async fn processes(app: &App, ask: &Ask) -> Result<Vec<ComponentItem>, Failure> {
    let of = |metric, name: &'static str, label: &'static str| {
        let query = Query::new(metric, Kind::Max).by(["version", label]);
        async move {
            let samples = ask.figures.instant(&query, ask.at).await?;
            let pod = |sample: &crate::query::Sample| ComponentPod {
                name: named(name, get(&sample.labels, label)),
                phase: "Running".into(),
                ready: true,
                restarts: 0,
                started_at: None,
            };
            let version = samples.first().map(|sample| get(&sample.labels, "version").to_owned());
            Ok(version.map(|version| ComponentItem {
                name: name.to_owned(),
                namespace: app.cluster.mesh.control_plane_namespace.clone(),
                version: Some(version),
                desired: u32::try_from(samples.len()).unwrap_or_default(),
                pods: sorted(samples.iter().map(pod).collect()),
            }))
        }
    };
    let (control, proxies) = futures::try_join!(
        of("weft_control_build_info", "weft-control", "instance"),
        of("proxy_build_info", "weft-proxy", "node"),
    )?;
    Ok(control.into_iter().chain(proxies).collect())
}

/// The name of one process of a component; an instance may be called like its component already.
fn named(component: &str, instance: &str) -> String {
    if instance.starts_with(component) { instance.to_owned() } else { format!("{component}-{instance}") }
}

fn sorted(mut pods: Vec<ComponentPod>) -> Vec<ComponentPod> {
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    pods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_is_called_like_its_component_is_not_named_twice() {
        assert_eq!(named("weft-control", "weft-control"), "weft-control");
        assert_eq!(named("weft-proxy", "node-a"), "weft-proxy-node-a");
    }
}
