//! Checks of requests, and headers of answers, that keep other sites away from the dashboard.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
    middleware::Next,
    response::Response,
};
use regex::Regex;
use weft_api::viz::{ErrorCode, Failure};

use super::answer;

const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// How much of a header is repeated in a message.
const MAX_SHOWN: usize = 200;

/// Adds the security headers. Grafana has its own policy, without which it does not work.
pub(super) async fn add_headers(request: Request, next: Next) -> Response {
    let is_grafana = is_grafana(request.uri());
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        if !is_grafana || name == header::X_CONTENT_TYPE_OPTIONS {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Refuses requests for other hosts: a site could otherwise point a name of its own at this address, and read the
/// dashboard from a browser inside of the cluster's network (DNS rebinding).
pub(super) async fn check_host(State(expected): State<Arc<Regex>>, request: Request, next: Next) -> Response {
    let host = host(&request).unwrap_or_default();
    if expected.is_match(&host) {
        return next.run(request).await;
    }
    let message = format!(
        "It appears that you are trying to reach this service with a host of '{}'. This does not match {} and has been \
         denied for security reasons.",
        shown(&host),
        expected.as_str()
    );
    let hint = "Set --enforced-host, or dashboard.enforcedHostRegexp of the chart, to a regular expression that \
                matches the host.";
    answer::failure(Failure::new(ErrorCode::HostNotAllowed, message).hint(hint))
}

/// Nothing on the dashboard changes anything.
pub(super) async fn only_get(request: Request, next: Next) -> Response {
    if request.method() == Method::GET {
        return next.run(request).await;
    }
    let message = format!("{} is not allowed: only GET is.", shown(request.method().as_str()));
    let mut response = answer::failure(Failure::new(ErrorCode::MethodNotAllowed, message));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

/// Refuses WebSockets of other sites. Programs that are no browsers send no Origin.
pub(super) fn check_origin(headers: &HeaderMap, host: Option<&str>) -> Result<(), Failure> {
    let Some(origin) = headers.get(header::ORIGIN).filter(|origin| !origin.is_empty()) else { return Ok(()) };
    let text = origin.to_str().unwrap_or_default();
    let authority = text.parse::<Uri>().ok().and_then(|uri| Some(uri.authority()?.as_str().to_owned()));
    if authority.is_some() && authority.as_deref() == host {
        return Ok(());
    }
    let message =
        format!("The origin '{}' is not the host '{}'.", shown(text), shown(host.unwrap_or_default()));
    let hint = "Behind a proxy, let it pass the Host header on, or remove the Origin header.";
    Err(Failure::new(ErrorCode::OriginNotAllowed, message).hint(hint))
}

/// The host that the client means.
fn host(request: &Request) -> Option<String> {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let mut headers = request.headers().get_all(header::HOST).iter();
    match (headers.next(), headers.next()) {
        // Two of them mean two things.
        (_, Some(_)) => None,
        (Some(header), None) => header.to_str().ok().map(str::to_owned),
        (None, None) => authority,
    }
}

fn is_grafana(uri: &Uri) -> bool {
    uri.path() == "/grafana" || uri.path().starts_with("/grafana/")
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_websocket_comes_from_the_dashboard_itself_or_from_no_browser() {
        let check = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            check_origin(&headers, Some("weft.example:8084")).is_ok()
        };
        assert!(check(None) && check(Some("")));
        assert!(check(Some("http://weft.example:8084")) && check(Some("https://weft.example:8084")));
        for origin in [
            "http://evil.example",
            "http://weft.example",
            "null",
            "weft.example:8084.evil.example",
            "http://",
        ] {
            assert!(!check(Some(origin)), "{origin}");
        }
    }
}
