//! Serves the files of the dashboard, and its page for every other path.

use std::io::Read;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use flate2::read::GzDecoder;

use super::assets::{ASSETS, Asset};

const INDEX: &str = "index.html";
const HASHED: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>weft</title></head><body>\
    <h1>The dashboard is not part of this build</h1><p>Build its files with <code>npm ci &amp;&amp; npm run build</code> in \
    <code>viz/web</code>, and then weft-viz again. The API works without them.</p></body></html>";

pub(super) async fn serve(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let find = |path: &str| ASSETS.iter().find(|asset| asset.path == path);
    match find(path) {
        Some(asset) if asset.path != INDEX => file(asset, &headers),
        // A missing file must not look like one.
        None if path.starts_with("assets/") => {
            let mut response = text("text/plain; charset=utf-8", "not found\n");
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
        _ => match find(INDEX) {
            Some(index) => file(index, &headers),
            None => text("text/html; charset=utf-8", NOT_BUILT),
        },
    }
}

fn file(asset: &Asset, headers: &HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let mut response = match accepts.is_some_and(accepts_gzip) {
        true => {
            let mut response = Response::new(Body::from(asset.gzip));
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
        false => {
            let mut plain = Vec::new();
            match GzDecoder::new(asset.gzip).read_to_end(&mut plain) {
                Ok(_) => Response::new(Body::from(plain)),
                Err(error) => {
                    tracing::error!(%error, path = asset.path, "a file of the dashboard is broken");
                    let mut response = Response::new(Body::empty());
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    response
                }
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let is_hashed = asset.path.starts_with("assets/");
    headers.insert(header::CACHE_CONTROL, if is_hashed { HASHED } else { NO_CACHE });
    response
}

fn accepts_gzip(value: &str) -> bool {
    value.split(',').any(|item| {
        let mut parts = item.trim().split(';');
        let is_gzip = matches!(parts.next().map(str::trim), Some("gzip" | "*"));
        is_gzip && !parts.any(|parameter| matches!(parameter.trim(), "q=0" | "q=0.0"))
    })
}

fn text(content_type: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, NO_CACHE);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(path: &str) -> Response {
        serve(path.parse().unwrap(), HeaderMap::new()).await
    }

    #[tokio::test]
    async fn every_path_is_a_page_but_those_of_missing_files() {
        for path in ["/", "/namespaces/shop/pods/a.js", "/index.html", "/%2e%2e/etc/passwd"] {
            let response = get(path).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        }
        assert_eq!(get("/assets/missing.js").await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn files_are_sent_compressed_to_who_understands_it() {
        let Some(asset) = ASSETS.iter().find(|asset| asset.path.ends_with(".js")) else { return };
        let plain = get(&format!("/{}", asset.path)).await;
        assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
        assert!(accepts_gzip("br, gzip;q=0.8") && !accepts_gzip("br, gzip;q=0") && !accepts_gzip("identity"));
    }
}
