//! The admin server of `weft-viz tap`: `/ready`, `/live` and `/metrics`.

use std::sync::Arc;

use axum::{Router, response::IntoResponse, routing::get};
use http::{StatusCode, header};

use crate::tap::FanOut;

pub(super) fn router(fan_out: Arc<FanOut>, missing: Arc<dyn Fn() -> Option<String> + Send + Sync>) -> Router {
    let ready = move || {
        let missing = missing();
        async move {
            match missing {
                None => (StatusCode::OK, "ready\n".to_owned()),
                Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing + "\n"),
            }
        }
    };
    let metrics = move || {
        let open = fan_out.open_taps();
        async move {
            let text = format!(
                "# HELP weft_viz_taps The number of taps that are open.\n# TYPE weft_viz_taps gauge\nweft_viz_taps {open}\n"
            );
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
        }
    };
    Router::new()
        .route("/ready", get(ready))
        .route("/live", get(|| async { "live\n" }))
        .route("/metrics", get(metrics))
}
