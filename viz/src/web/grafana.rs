//! Passes requests below `/grafana` on to Grafana.

use std::time::Duration;

use axum::{body::Body, extract::Request, http::HeaderMap, response::Response};
use http::{HeaderName, Uri, header, uri};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use weft_api::viz::{ErrorCode, Failure};

use super::answer;

const TIMEOUT: Duration = Duration::from_secs(30);
/// The body of a question to Grafana.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Headers that concern one connection only.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

#[derive(Clone, Debug)]
pub(super) struct Grafana {
    http: Client<HttpConnector, Body>,
    target: Uri,
}

impl Grafana {
    pub(super) fn new(target: Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        Self { http: Client::builder(TokioExecutor::new()).build(connector), target }
    }

    pub(super) async fn pass(&self, request: Request) -> Response {
        match tokio::time::timeout(TIMEOUT, self.ask(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                tracing::warn!(%error, "Grafana does not answer");
                unavailable("Grafana does not answer.")
            }
            Err(_) => unavailable("Grafana took more than 30 s to answer."),
        }
    }

    async fn ask(&self, request: Request) -> anyhow::Result<Response> {
        let (mut head, body) = request.into_parts();
        // Grafana serves below this path too (serve_from_sub_path).
        let path =
            head.uri.path_and_query().cloned().unwrap_or_else(|| uri::PathAndQuery::from_static("/grafana/"));
        let mut parts = self.target.clone().into_parts();
        parts.path_and_query = Some(path);
        head.uri = Uri::from_parts(parts)?;
        remove(&mut head.headers);
        head.headers.remove(header::HOST);
        head.version = http::Version::HTTP_11;
        let body = Body::new(http_body_util::Limited::new(body, MAX_BODY));
        let mut response = self
            .http
            .request(Request::from_parts(head, body))
            .await?
            .map(|body| Body::new(body.map_err(axum::Error::new)));
        remove(response.headers_mut());
        Ok(response)
    }
}

fn remove(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

fn unavailable(message: &str) -> Response {
    let hint = "See whether Grafana runs, and is where --grafana-url (grafana.url of the chart) says.";
    answer::failure(Failure::new(ErrorCode::Other("grafana_unavailable".into()), message).hint(hint))
}
