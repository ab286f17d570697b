//! Writes answers of the API.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use weft_api::viz::{Answer, ErrorBody, Failure, Meta};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

pub(super) fn success<T: Serialize>(meta: Meta, data: T) -> Response {
    with_headers(Json(Answer { meta, data }).into_response())
}

pub(super) fn failure(failure: Failure) -> Response {
    let status = StatusCode::from_u16(failure.code.parts().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_headers((status, Json(ErrorBody { error: failure })).into_response())
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    response
}
