//! `/api/check`: what weft-viz can see of its own surroundings.

use std::{sync::Arc, time::Duration};

use weft_api::viz::{CheckCategory, CheckItem, CheckReport, CheckResult, Failure};

use super::{App, Ask, nodes::proxy_metrics};

const TAP_TIMEOUT: Duration = Duration::from_secs(5);
const TAP_API: &str = "/apis/tap.linkerd.io/v1alpha1";

pub(crate) async fn check(app: Arc<App>, ask: Arc<Ask>) -> Result<CheckReport, Failure> {
    let viz = vec![
        item("the objects of the cluster are known", app.cluster.synced().map_err(Trouble::error)),
        prometheus(&app).await,
        scraped(&app, &ask).await,
        answering(&app, &ask).await,
        tap(&app).await,
    ];
    let mut categories = vec![CheckCategory { name: "weft-viz".into(), checks: viz }];
    let namespaces = [app.cluster.mesh.control_plane_namespace.as_str(), app.settings.viz_namespace.as_str()];
    if let Some(components) = app.cluster.components(&namespaces).await {
        categories
            .insert(0, CheckCategory { name: "weft-components".into(), checks: pods_ready(components) });
    }
    let mut all = categories.iter().flat_map(|category| &category.checks);
    Ok(CheckReport { success: all.all(|check| check.result != CheckResult::Error), categories })
}

/// Why a check did not succeed.
struct Trouble {
    result: CheckResult,
    error: String,
    hint: Option<String>,
}

impl Trouble {
    fn error(failure: Failure) -> Self {
        Self { result: CheckResult::Error, error: failure.message, hint: failure.hint }
    }

    fn warning(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { result: CheckResult::Warning, error: error.into(), hint: Some(hint.into()) }
    }
}

fn item(description: &str, result: Result<(), Trouble>) -> CheckItem {
    let description = description.to_owned();
    match result {
        Ok(()) => CheckItem { description, result: CheckResult::Success, error: None, hint: None },
        Err(Trouble { result, error, hint }) => CheckItem { description, result, error: Some(error), hint },
    }
}

async fn prometheus(app: &App) -> CheckItem {
    let result = match app.sources.is_configured() {
        false => Err(Trouble::warning(
            "Prometheus is not configured: figures are those of the last minute.",
            "Install the viz extension with prometheus.enabled=true, or set prometheusUrl.",
        )),
        true => app.sources.check().await.map_err(Trouble::error),
    };
    item("Prometheus answers", result)
}

async fn scraped(app: &App, ask: &Ask) -> CheckItem {
    let description = "the proxies of all nodes are scraped";
    let metrics = match proxy_metrics(ask).await {
        Ok(metrics) => metrics,
        Err(failure) => return item(description, Err(Trouble::error(failure))),
    };
    let addresses = app.proxies.addresses(&ask.view);
    if addresses.is_empty() {
        let hint = "See whether the DaemonSet weft-proxy has pods: weft check.";
        return item(description, Err(Trouble::warning("No node has a proxy.", hint)));
    }
    let missing: Vec<_> = addresses.into_keys().filter(|node| !metrics.scraped.contains_key(node)).collect();
    let result = match missing.is_empty() {
        true => Ok(()),
        false => Err(Trouble {
            result: CheckResult::Error,
            error: format!("Not scraped: {}.", missing.join(", ")),
            hint: Some("Look at the targets of the job weft-proxy in Prometheus; it needs to reach port 4191 of the nodes.".into()),
        }),
    };
    item(description, result)
}

async fn answering(app: &App, ask: &Ask) -> CheckItem {
    let configs = app.proxies.configs(&ask.view).await;
    let silent: Vec<_> =
        app.proxies.addresses(&ask.view).into_keys().filter(|node| !configs.contains_key(node)).collect();
    let result = match silent.is_empty() {
        true => Ok(()),
        false => Err(Trouble {
            result: CheckResult::Error,
            error: format!("The proxies of these nodes do not answer: {}.", silent.join(", ")),
            hint: Some("weft-viz needs to reach port 4191 of the nodes.".into()),
        }),
    };
    item("the proxies answer on their admin ports", result)
}

async fn tap(app: &App) -> CheckItem {
    let description = "live calls can be seen (tap)";
    let Some(client) = app.cluster.client() else { return item(description, Ok(())) };
    let hint = "Look at the APIService v1alpha1.tap.linkerd.io and at the Deployment tap: weft viz check.";
    let request = match http::Request::get(TAP_API).body(Vec::new()) {
        Ok(request) => request,
        Err(error) => return item(description, Err(Trouble::warning(error.to_string(), hint))),
    };
    let result = match tokio::time::timeout(TAP_TIMEOUT, client.request_text(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Trouble::warning(format!("The tap API does not answer: {error}."), hint)),
        Err(_) => Err(Trouble::warning("The tap API took more than 5 s to answer.", hint)),
    };
    item(description, result)
}

fn pods_ready(components: Result<Arc<Vec<weft_api::viz::ComponentItem>>, Failure>) -> Vec<CheckItem> {
    let components = match components {
        Ok(components) => components,
        Err(failure) => return vec![item("the components of weft are known", Err(Trouble::error(failure)))],
    };
    let check = |component: &weft_api::viz::ComponentItem| {
        let ready = component.pods.iter().filter(|pod| pod.ready).count();
        let desired = component.desired as usize;
        let result = match ready >= desired {
            true => Ok(()),
            false => Err(Trouble {
                result: CheckResult::Error,
                error: format!("{ready} of {desired} pods are ready."),
                hint: Some(format!("kubectl -n {} describe pods", component.namespace)),
            }),
        };
        item(&format!("pods of {} in {} are ready", component.name, component.namespace), result)
    };
    components.iter().map(check).collect()
}
