//! The page for browsers, as it is compiled into the program.

use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue};
use hyper::{Response, StatusCode};

use super::http::{Body, respond};

const INDEX: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/app.js");
const STYLE: &str = include_str!("page/style.css");
const ICON: &str = include_str!("page/icon.svg");

/// The file at a path; None: there is none.
pub(crate) fn file(path: &str) -> Option<Response<Body>> {
    let (kind, content) = match path {
        "/" | "/leaderboard" => ("text/html; charset=utf-8", INDEX),
        "/js" | "/dist/index_bundle.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "/dist/style.css" => ("text/css; charset=utf-8", STYLE),
        // Browsers go by the media type, not by the name.
        "/img/favicon.ico" => ("image/svg+xml", ICON),
        _ => return None,
    };
    let mut response = respond(StatusCode::OK, kind, content);
    let headers = response.headers_mut();
    // The next version of the program has other files under the same names.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
    Some(response)
}
