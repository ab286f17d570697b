//! The web service: the page, and the HTTP API that calls emoji and voting.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::Status;

use super::api::Emoji;
use super::backends::Backends;
use super::http::{self, Body};
use super::{page, settings};

/// Arguments of `weft-demo web`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the page is served
    #[arg(long, env, default_value_t = 8080)]
    web_port: u16,
    /// The emoji service, as HOST:PORT
    #[arg(long, env, value_parser = settings::host)]
    emojisvc_host: String,
    /// The voting service, as HOST:PORT
    #[arg(long, env, value_parser = settings::host)]
    votingsvc_host: String,
}

/// Serves until `stop` changes.
pub(crate) async fn run(args: Args, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let backends = Backends::new(&args.emojisvc_host, &args.votingsvc_host)?;
    let listener = http::listen(args.web_port, "--web-port (WEB_PORT)").await?;
    println!("web listens on {}", listener.local_addr()?);
    serve_on(listener, backends, stop).await;
    println!("web stopped");
    Ok(())
}

pub(super) async fn serve_on(listener: TcpListener, backends: Backends, stop: watch::Receiver<bool>) {
    let backends = Arc::new(backends);
    let handle = move |request: Request<Incoming>| {
        let backends = backends.clone();
        async move { answer(&backends, request).await }
    };
    http::serve(listener, handle, stop).await;
}

async fn answer(backends: &Backends, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "use GET");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let result = match path {
        "/api/list" => list(backends).await,
        "/api/vote" => return vote(backends, request.uri().query().unwrap_or_default()).await,
        "/api/leaderboard" => leaderboard(backends).await,
        path => {
            return page::file(path)
                .unwrap_or_else(|| error(StatusCode::NOT_FOUND, &format!("there is no page {path}")));
        }
    };
    match result {
        Ok(value) => http::json(StatusCode::OK, &value),
        Err(status) => failed(path, &status),
    }
}

async fn list(backends: &Backends) -> Result<Value, Status> {
    Ok(backends
        .list()
        .await?
        .into_iter()
        .map(|Emoji { unicode, shortcode }| json!({ "shortcode": shortcode, "unicode": unicode }))
        .collect())
}

async fn vote(backends: &Backends, query: &str) -> Response<Body> {
    let choice = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "choice");
    let Some((_, choice)) = choice.filter(|(_, choice)| !choice.is_empty()) else {
        return error(StatusCode::BAD_REQUEST, "no emoji: write /api/vote?choice=:rocket:");
    };
    match backends.find(&choice).await {
        Ok(Some(_)) => {}
        Ok(None) => {
            return error(StatusCode::BAD_REQUEST, &format!("nobody can vote for {choice}; see /api/list"));
        }
        Err(status) => return failed("FindByShortcode", &status),
    }
    match backends.vote(&choice).await {
        Ok(()) => Response::default(),
        Err(status) => failed(&choice, &status),
    }
}

async fn leaderboard(backends: &Backends) -> Result<Value, Status> {
    let (results, emojis) = (backends.results().await?, backends.list().await?);
    let unicode = |shortcode: &str| {
        emojis.iter().find(|emoji| emoji.shortcode == shortcode).map(|emoji| emoji.unicode.as_str())
    };
    Ok(results
        .iter()
        .map(|result| {
            // Text, as in Linkerd's demo.
            let votes = result.votes.to_string();
            json!({ "votes": votes, "unicode": unicode(&result.shortcode), "shortcode": result.shortcode })
        })
        .collect())
}

/// A backend did not answer, or with an error.
fn failed(what: &str, status: &Status) -> Response<Body> {
    println!("{what}: {:?}: {}", status.code(), status.message());
    let text = format!("{:?}: {}", status.code(), status.message());
    error(StatusCode::INTERNAL_SERVER_ERROR, &text)
}

fn error(status: StatusCode, text: &str) -> Response<Body> {
    http::json(status, &json!({ "error": text }))
}
