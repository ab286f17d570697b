//! Passes requests below `/grafana` on to Grafana.

use std::time::Duration;

use axum::{body::Body, extract::Request, http::HeaderMap, response::Response};
use http::{HeaderName, HeaderValue, Uri, header, uri};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use weft_api::viz::{ErrorCode, Failure};

use super::{answer, security};

const TIMEOUT: Duration = Duration::from_secs(30);
/// The body of a question to Grafana.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Headers that concern one connection only.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];
/// Grafana's own cookies. Others are those of what is in front of the dashboard, such as oauth2-proxy.
const COOKIES: [&str; 6] = [
    "grafana_session",
    "grafana_session_expiry",
    "oauth_code_verifier",
    "oauth_state",
    "redirect_to",
    "redirectTo",
];
/// What the mesh tells the dashboard about its client.
const OF_THE_MESH: &str = "l5d-";

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
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        // Grafana compares the two itself, but does not hear the host that the browser means.
        if let Err(failure) = security::check_origin(request.headers(), host) {
            return answer::failure(failure);
        }
        if leads_up(request.uri().path()) {
            let failure = Failure::new(ErrorCode::BadRequest, "The path leads out of /grafana.");
            return answer::failure(failure.hint("Write it without `..`."));
        }
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
        clean_request(&mut head.headers);
        head.version = http::Version::HTTP_11;
        let body = Body::new(http_body_util::Limited::new(body, MAX_BODY));
        let mut response = self
            .http
            .request(Request::from_parts(head, body))
            .await?
            .map(|body| Body::new(body.map_err(axum::Error::new)));
        clean_response(response.headers_mut());
        Ok(response)
    }
}

/// Leaves what is Grafana's: credentials are for what is in front of the dashboard.
fn clean_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    let of_the_mesh: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with(OF_THE_MESH)).cloned().collect();
    for name in of_the_mesh.iter().chain(&[header::HOST, header::ORIGIN, header::AUTHORIZATION]) {
        headers.remove(name);
    }
    let cookies: Vec<_> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .map(str::trim)
        .filter(|cookie| is_grafanas(cookie))
        .collect();
    let cookies = HeaderValue::from_str(&cookies.join("; ")).ok().filter(|cookies| !cookies.is_empty());
    headers.remove(header::COOKIE);
    headers.extend(cookies.map(|cookies| (header::COOKIE, cookies)));
}

/// Grafana sets no cookies but its own.
fn clean_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    let is_kept = |value: &&HeaderValue| value.to_str().is_ok_and(is_grafanas);
    let kept: Vec<_> = headers.get_all(header::SET_COOKIE).iter().filter(is_kept).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for cookie in kept {
        headers.append(header::SET_COOKIE, cookie);
    }
}

/// Whether `NAME=VALUE` is one of Grafana's cookies.
fn is_grafanas(cookie: &str) -> bool {
    cookie.split_once('=').is_some_and(|(name, _)| COOKIES.contains(&name.trim()))
}

/// With the headers that `connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Whether a part of the path is `..`, as it is or encoded.
fn leads_up(path: &str) -> bool {
    let decoded = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace(['\\'], "/");
    decoded.replace("%5c", "/").split('/').any(|part| part == "..")
}

fn unavailable(message: &str) -> Response {
    let hint = "See whether Grafana runs, and is where --grafana-url (grafana.url of the chart) says.";
    answer::failure(Failure::new(ErrorCode::Other("grafana_unavailable".into()), message).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_of_grafana_are_seen() {
        for path in
            ["/grafana/../x", "/grafana/%2e%2E/x", "/grafana/a/..", "/grafana/..%2Fx", "/grafana/..%5cx"]
        {
            assert!(leads_up(path), "{path}");
        }
        for path in ["/grafana", "/grafana/d/weft-pod/a..b", "/grafana/.../x", "/grafana/%2e/x"] {
            assert!(!leads_up(path), "{path}");
        }
    }
}
