//! Says on stderr what an answer lacks, and why it is empty.

use anyhow::Result;
use weft_api::viz::{Meta, PodItem, PodProxyState, ResourceItem, Source, Window};

use super::access::{Route, Viz, printable};
pub(super) use crate::terminal::say;

/// Says what the figures of an answer lack.
pub(super) fn about(meta: &Meta) {
    lacks(meta).iter().for_each(|text| say(text));
}

fn lacks(meta: &Meta) -> Vec<String> {
    // While Prometheus does not answer, a warning says so.
    let is_away = meta.warnings.iter().any(|warning| warning.code == "prometheus_unavailable");
    let without = (meta.source == Source::Proxies && !is_away).then(|| {
        "Prometheus is not installed: these are figures of the last minute, read from the proxies.".to_owned()
    });
    let warnings = meta.warnings.iter().map(|warning| format!("warning: {}", printable(&warning.message)));
    without.into_iter().chain(warnings).collect()
}

/// Why resources that exist have no figures, and what helps: they are not annotated, or their proxies do not serve them.
pub(super) async fn unmeshed(viz: &Viz, namespace: Option<&str>, what: &str) -> Result<String> {
    let query: Vec<_> = namespace.map(|namespace| ("namespace", namespace)).into_iter().collect();
    let pods = viz.get::<Vec<PodItem>>("/api/pods", &query).await?.data;
    let waiting =
        pods.iter().find_map(|pod| pod.proxy.as_ref().filter(|proxy| proxy.state != PodProxyState::Served));
    Ok(match waiting {
        Some(proxy) => {
            let reason = proxy.reason.as_deref().filter(|reason| !reason.is_empty());
            let reason = reason.map(|reason| format!(" ({})", printable(reason))).unwrap_or_default();
            format!("{what}: pods are annotated for it, and not served{reason}. `weft viz list` says more.")
        }
        None => {
            let namespace = namespace.unwrap_or("NAMESPACE");
            let how = match viz.route {
                Route::Cluster { .. } | Route::Direct(_) => {
                    format!("`kubectl annotate namespace {namespace} linkerd.io/inject=enabled`")
                }
                Route::Vm(_) => {
                    format!(
                        "annotate the Namespace {namespace} with linkerd.io/inject: enabled in the manifests"
                    )
                }
            };
            format!("{what}. To add a namespace: {how}.")
        }
    })
}

/// Why there is no row of these resources at all.
pub(super) async fn no_such(viz: &Viz, namespace: Option<&str>, plural: &str) -> Result<String> {
    let Some(namespace) = namespace else {
        return Ok(format!("There are no {plural}."));
    };
    let all = viz.get::<Vec<ResourceItem>>("/api/resources", &[]).await?.data;
    Ok(if all.iter().any(|item| item.resource.namespace == namespace) {
        format!("There are no {plural} in the namespace {namespace}; choose another with -n, or all with -A.")
    } else {
        format!(
            "The namespace {namespace} is empty, or does not exist; choose another with -n, or all with -A."
        )
    })
}

/// Why there are no figures for resources that are in the mesh.
pub(super) fn no_traffic(source: Option<Source>, window: Window, what: &str) -> String {
    // The proxies know the last minute only, whatever was asked for.
    let is_of_proxies = source == Some(Source::Proxies);
    let window = if is_of_proxies { Window::MINUTE } else { window };
    let longer = match window.length().as_secs() / 3600 {
        _ if is_of_proxies => None,
        0 => Some("1h"),
        1..6 => Some("6h"),
        _ => None,
    };
    let further = longer
        .map(|longer| format!(" A longer range of time, such as -t {longer}, may show some."))
        .unwrap_or_default();
    format!("No {what} in the last {window}.{further}")
}

#[cfg(test)]
mod tests {
    use weft_api::viz::Warning;

    use super::*;

    #[test]
    fn whether_prometheus_is_away_or_not_installed_is_said_once() {
        let meta = |code: &str| Meta {
            at: 0.0,
            window: Window::MINUTE,
            source: Source::Proxies,
            warnings: vec![Warning { code: code.to_owned(), message: "Some text.".to_owned() }],
        };
        assert_eq!(lacks(&meta("prometheus_unavailable")), ["warning: Some text."]);
        let missing =
            "Prometheus is not installed: these are figures of the last minute, read from the proxies.";
        assert_eq!(lacks(&meta("node_not_scraped")), [missing, "warning: Some text."]);
    }

    #[test]
    fn the_range_of_time_is_the_one_that_was_read() {
        let without = no_traffic(Some(Source::Proxies), Window::HOUR, "traffic");
        assert_eq!(without, "No traffic in the last 1m.");
        let with = no_traffic(Some(Source::Prometheus), "10m".parse().unwrap(), "traffic");
        assert_eq!(with, "No traffic in the last 10m. A longer range of time, such as -t 1h, may show some.");
    }
}
