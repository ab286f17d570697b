//! The admin server of `weft-viz tap`: `/ready`, `/live` and `/metrics`.

use std::sync::Arc;

use axum::{Router, response::IntoResponse, routing::get};
use http::{StatusCode, header};

use crate::tap::{SharedTaps, Usage};

pub(super) fn router(
    taps: Arc<SharedTaps>,
    missing: Arc<dyn Fn() -> Option<String> + Send + Sync>,
) -> Router {
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
        let text = text(taps.usage());
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response() }
    };
    Router::new()
        .route("/ready", get(ready))
        .route("/live", get(|| async { "live\n" }))
        .route("/metrics", get(metrics))
}

fn text(usage: Usage) -> String {
    let Usage { taps, readers, refused } = usage;
    format!(
        "# HELP weft_viz_taps The number of taps that are open.\n# TYPE weft_viz_taps gauge\nweft_viz_taps {taps}\n\
         # HELP weft_viz_tap_readers Those who read taps; who taps the same shares one.\n\
         # TYPE weft_viz_tap_readers gauge\nweft_viz_tap_readers {readers}\n\
         # HELP weft_viz_taps_refused_total Taps that were refused because their user, or all, had too many.\n\
         # TYPE weft_viz_taps_refused_total counter\nweft_viz_taps_refused_total {refused}\n"
    )
}
