//! The routes of the API.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, RawQuery, State},
    http::Uri,
    response::Response,
    routing::{MethodRouter, get},
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tower_http::compression::{CompressionLayer, predicate::SizeAbove};
use weft_api::viz::{ErrorCode, Failure, ResourceDetail};

use super::{answer, tap_socket};
use crate::api::{self, App, Ask, Params};

const TIMEOUT: Duration = Duration::from_secs(10);
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// Smaller answers are not compressed.
const COMPRESS_ABOVE: u64 = 1024;

pub(super) fn router(app: Arc<App>, stop: CancellationToken) -> Router {
    let taps = tap_socket::router(app.clone(), stop);
    Router::new()
        .route("/api/version", call("version", api::version))
        .route("/api/overview", call("overview", api::overview))
        .route("/api/resources", call("resources", api::resources))
        .route("/api/tps-reports", call("tps-reports", api::tps_reports))
        .route("/api/topology", call("topology", api::topology))
        .route("/api/timeseries", call("timeseries", api::timeseries))
        .route("/api/resource/{namespace}/{type}/{name}", get(resource))
        .route("/api/resource-definition", call("resource-definition", api::definition))
        .route("/api/pods", call("pods", api::pods))
        .route("/api/services", call("services", api::services))
        .route("/api/edges", call("edges", api::edges))
        .route("/api/routes", call("routes", api::routes))
        .route("/api/outbound", call("outbound", api::outbound))
        .route("/api/authz", call("authz", api::authz))
        .route("/api/policy-reports", call("policy-reports", api::policy_reports))
        .route("/api/nodes", call("nodes", api::nodes))
        .route("/api/control-plane", call("control-plane", api::control_plane))
        .route("/api/check", call("check", api::check))
        .route("/api/extensions", call("extensions", api::extensions))
        .route("/api/gateways", call("gateways", api::gateways))
        .route("/api", get(unknown))
        .route("/api/", get(unknown))
        .route("/api/{*path}", get(unknown))
        .layer(CompressionLayer::new().gzip(true).compress_when(SizeAbove::new(COMPRESS_ABOVE)))
        .with_state(app)
        .merge(taps)
}

fn call<T, F>(name: &'static str, run: fn(Arc<App>, Arc<Ask>) -> F) -> MethodRouter<Arc<App>>
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    get(move |State(app): State<Arc<App>>, RawQuery(query): RawQuery| async move {
        let params = api::parse_query(query.as_deref().unwrap_or_default());
        answer_with(name, app, params, run).await
    })
}

async fn resource(
    State(app): State<Arc<App>>,
    Path((namespace, kind, name)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let params = api::of_path(namespace, &kind, name).and_then(|resource| {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(form_urlencoded::parse(query.unwrap_or_default().as_bytes()));
        text.extend_pairs(resource);
        api::parse_query(&text.finish())
    });
    answer_with::<ResourceDetail, _>("resource", app, params, api::detail).await
}

async fn unknown(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    let failure = Failure::new(ErrorCode::NotFound, format!("{path} is not a call of this API."));
    answer::failure(failure.hint("docs/viz-api.md lists all calls."))
}

async fn answer_with<T, F>(
    name: &'static str,
    app: Arc<App>,
    params: Result<Params, Failure>,
    run: fn(Arc<App>, Arc<Ask>) -> F,
) -> Response
where
    T: Serialize,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let begun = Instant::now();
    let response = match answer_of(name, &app, params, run).await {
        Err(failure) => answer::failure(failure),
        Ok((ask, data)) => {
            api::warn(&app, &ask, name, begun.elapsed()).await;
            answer::success(ask.meta(), data)
        }
    };
    app.metrics.answered(name, response.status().as_u16());
    response
}

/// The answer of who answers now. If Prometheus goes away meanwhile, all of it is of the proxies.
async fn answer_of<T, F>(
    name: &'static str,
    app: &Arc<App>,
    params: Result<Params, Failure>,
    run: fn(Arc<App>, Arc<Ask>) -> F,
) -> Result<(Arc<Ask>, T), Failure>
where
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let params = params?;
    let ask = Arc::new(Ask::new(app, params.clone())?);
    let asked = async {
        api::prepare(app, &ask, name).await;
        limited(name, run(app.clone(), ask.clone())).await
    };
    if !ask.needs_prometheus() {
        return asked.await.map(|data| (ask, data));
    }
    let result = tokio::select! {
        result = asked => Some(result),
        () = app.sources.lost() => None,
    };
    if let Some(result) = result
        && (!result.as_ref().is_err_and(may_be_an_outage) || !app.sources.are_replaced().await)
    {
        return result.map(|data| (ask, data));
    }
    let ask = Arc::new(Ask::new(app, params)?);
    api::prepare(app, &ask, name).await;
    limited(name, run(app.clone(), ask.clone())).await.map(|data| (ask, data))
}

async fn limited<T>(name: &'static str, run: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let limit = if name == "check" { CHECK_TIMEOUT } else { TIMEOUT };
    tokio::time::timeout(limit, Box::pin(run)).await.unwrap_or_else(|_| {
        let message = format!("The answer took more than {} s.", limit.as_secs());
        Err(Failure::new(ErrorCode::Timeout, message).hint("Choose one namespace or a shorter time range."))
    })
}

fn may_be_an_outage(failure: &Failure) -> bool {
    matches!(failure.code, ErrorCode::PrometheusUnavailable | ErrorCode::Timeout)
}
