//! The admin server: `/live`, `/ready` and `/metrics`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{api::App, web};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const MAX_CONNECTIONS: usize = 64;

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, stop: CancellationToken) {
    let metrics = |State(app): State<Arc<App>>| async move {
        ([(header::CONTENT_TYPE, OPENMETRICS)], app.metrics.text())
    };
    let ready = |State(app): State<Arc<App>>| async move {
        match app.cluster.synced() {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()).into_response(),
            Err(failure) => {
                (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", failure.message)).into_response()
            }
        }
    };
    let router = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found; try /live, /ready or /metrics\n") })
        .with_state(app);
    web::accept(listener, router, MAX_CONNECTIONS, None, stop).await;
}
