//! Serves the dashboard: its files, its API, and Grafana below `/grafana`.

mod answer;
mod assets;
mod calls;
mod files;
mod grafana;
mod security;
mod server;
mod tap_messages;
mod tap_socket;

use std::sync::Arc;

use axum::{Router, middleware, routing::any};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use self::server::accept;
use crate::{api::App, config::WebConfig};

/// Connections to the dashboard. Beyond that, new ones wait.
const MAX_CONNECTIONS: usize = 1024;

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, config: WebConfig, stop: CancellationToken) {
    let metrics = app.metrics.clone();
    let router = router(app, &config, stop.clone());
    accept(listener, router, MAX_CONNECTIONS, Some(metrics), stop).await;
}

fn router(app: Arc<App>, config: &WebConfig, stop: CancellationToken) -> Router {
    let pages = Router::new()
        .merge(calls::router(app, stop))
        .fallback(files::serve)
        .layer(middleware::from_fn(security::only_get));
    let mut router = pages;
    if let Some(target) = &config.grafana_proxy {
        let grafana = grafana::Grafana::new(target.clone());
        let run = move |request| {
            let grafana = grafana.clone();
            async move { grafana.pass(request).await }
        };
        router = Router::new()
            .route("/grafana", any(run.clone()))
            .route("/grafana/", any(run.clone()))
            .route("/grafana/{*path}", any(run))
            .fallback_service(router);
    }
    let host = Arc::new(config.enforced_host.clone());
    router
        .layer(middleware::from_fn_with_state(host, security::check_host))
        .layer(middleware::from_fn(security::add_headers))
}
