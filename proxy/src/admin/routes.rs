//! The answers of the admin server, by path.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

use super::{State, env};
use crate::metrics::CONTENT_TYPE;

type Answer = Response<Full<Bytes>>;

pub(super) async fn respond(state: &State, peer: SocketAddr, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        "/live" | "/ready" | "/metrics" | "/env.json" | "/config" | "/certificates.json"
        | "/http/worst.json"
            if !is_read =>
        {
            not_allowed("GET, HEAD")
        }
        "/live" => text(StatusCode::OK, "live\n"),
        "/ready" => match (state.admin.readiness)() {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(missing) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")),
        },
        "/metrics" => metrics(state).await,
        "/env.json" => {
            let variables = std::env::vars_os()
                .map(|(name, value)| (name.to_string_lossy().into(), value.to_string_lossy().into()));
            json(&env::visible(variables, request.uri().query()))
        }
        "/config" => json(&(state.admin.config)()),
        "/certificates.json" => json(&(state.admin.certificates)()),
        "/http/worst.json" => json(&state.admin.worst.rows()),
        "/proxy-log-level" => log_level(state, peer, request).await,
        _ => text(StatusCode::NOT_FOUND, format!("not found; paths: {PATHS}\n")),
    }
}

async fn metrics(state: &State) -> Answer {
    // The permit is released when the text is written, not when it is sent, so a slow reader does not delay others.
    let Ok(_permit) = state.scrapes.acquire().await else { return failed(&"shutting down") };
    let metrics = state.admin.metrics.clone();
    match tokio::task::spawn_blocking(move || metrics.encode()).await {
        Ok(Ok(text)) => answer(StatusCode::OK, CONTENT_TYPE, text.into()),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

async fn log_level(state: &State, peer: SocketAddr, request: Request<Incoming>) -> Answer {
    // More logging can fill disks and reveal traffic, so this is only for clients on the node.
    if !peer.ip().to_canonical().is_loopback() {
        return text(StatusCode::FORBIDDEN, "only from this machine (loopback)\n");
    }
    match *request.method() {
        Method::GET | Method::HEAD => match state.admin.log_level.current() {
            Ok(level) => text(StatusCode::OK, level + "\n"),
            Err(error) => failed(&error),
        },
        Method::PUT => {
            let Ok(body) = Limited::new(request.into_body(), MAX_LEVEL).collect().await else {
                return text(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {MAX_LEVEL} bytes\n"));
            };
            let level = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            match state.admin.log_level.set(&level) {
                Ok(()) => {
                    tracing::info!(level = level.trim(), "log level changed");
                    answer(StatusCode::NO_CONTENT, TEXT, Bytes::new())
                }
                Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
            }
        }
        _ => not_allowed("GET, HEAD, PUT"),
    }
}

fn json(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            answer(StatusCode::OK, "application/json", body.into())
        }
        Err(error) => failed(&error),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, TEXT, body.into())
}

fn failed(error: &dyn std::fmt::Display) -> Answer {
    text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer =
        text(StatusCode::METHOD_NOT_ALLOWED, format!("method not allowed; allowed: {methods}\n"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

const TEXT: &str = "text/plain; charset=utf-8";
const PATHS: &str =
    "/ready /live /metrics /env.json /config /certificates.json /proxy-log-level /http/worst.json";
/// The maximum length of the directives, in bytes.
const MAX_LEVEL: usize = 4 * 1024;
