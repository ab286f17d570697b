//! The routes of the tap API.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use weft_api::viz::{Failure, TapMessage, TapQuery};

use super::{access::Access, discovery, front_proxy::ClientCertificate, query};
use crate::taps::Taps;

/// What the routes need.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) access: Access,
    pub(super) taps: Arc<dyn Taps>,
    /// What is still missing before taps can be served.
    pub(super) missing: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

/// A failure as an answer.
struct Refused(Failure);

pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/apis", get(|| async { Json(discovery::groups()) }))
        .route("/apis/tap.linkerd.io", get(|| async { Json(discovery::group()) }))
        .route("/apis/tap.linkerd.io/v1alpha1", get(|| async { Json(discovery::resources()) }))
        .route("/apis/tap.linkerd.io/v1alpha1/watch/namespaces/{namespace}/tap", get(tap_namespace))
        .route(
            "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/{namespace}/{kind}/{name}/tap",
            get(tap_resource),
        )
        .route("/healthz", get(|| async { "ok" }))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(api)
}

async fn ready(State(api): State<Api>) -> Response {
    match (api.missing)() {
        None => "ok".into_response(),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing + "\n").into_response(),
    }
}

async fn tap_namespace(
    State(api): State<Api>,
    Extension(certificate): Extension<ClientCertificate>,
    Path(namespace): Path<String>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let query = query::read(namespace, None, parameters).map_err(Refused)?;
    tap(api, &certificate, &headers, query).await.map_err(Refused)
}

async fn tap_resource(
    State(api): State<Api>,
    Extension(certificate): Extension<ClientCertificate>,
    Path((namespace, kind, name)): Path<(String, String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let query = query::read(namespace, Some((kind, name)), parameters).map_err(Refused)?;
    tap(api, &certificate, &headers, query).await.map_err(Refused)
}

async fn tap(
    api: Api,
    certificate: &ClientCertificate,
    headers: &HeaderMap,
    query: TapQuery,
) -> Result<Response, Failure> {
    // First: what exists is no business of somebody who may not tap it.
    let user = api.access.check(certificate, headers, &query).await?;
    let messages = api.taps.open(&user, query).await?;
    let lines = messages.map(|message| Ok::<_, Infallible>(line(&message)));
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn line(message: &TapMessage) -> Bytes {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (word, code) = self.0.code.parts();
        let reason = match code {
            400 => "BadRequest",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "InternalError",
        };
        // Clients of Kubernetes read the Status, others the error.
        let body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.0.message,
            "reason": reason,
            "code": code,
            "details": {"causes": [{"reason": word, "message": self.0.hint.clone().unwrap_or_default()}]},
            "error": self.0,
        });
        let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(body)).into_response()
    }
}
