//! Runs web, emoji and voting together, on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::backends::Backends;
use super::catalogue;
use super::metrics::Metrics;
use super::voting::Voting;
use super::{emoji, grpc, web};

struct App {
    address: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
    stop: watch::Sender<bool>,
    servers: JoinSet<()>,
}

impl App {
    async fn start(failure_rate: f64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut servers = JoinSet::new();
        let metrics = Metrics::new("test");
        let (emojis, emoji_listener) = (emoji::service(metrics.clone()), listen().await);
        let voting = Voting::new(failure_rate, Duration::ZERO, "voting-a", metrics);
        let (voting_listener, web_listener) = (listen().await, listen().await);
        let [emoji, votes, address] =
            [&emoji_listener, &voting_listener, &web_listener].map(|listener| listener.local_addr().unwrap());
        let backends = Backends::new(&emoji.to_string(), &votes.to_string()).unwrap();
        let (stop1, stop2) = (stopped.clone(), stopped.clone());
        servers.spawn(async { grpc::serve_on(emoji_listener, emojis, stop1).await.unwrap() });
        servers.spawn(async { grpc::serve_on(voting_listener, voting, stop2).await.unwrap() });
        servers.spawn(web::serve_on(web_listener, backends, stopped));
        Self { address, client: Client::builder(TokioExecutor::new()).build_http(), stop, servers }
    }

    async fn send(&self, method: Method, path: &str) -> (StatusCode, String) {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri).body(Empty::new()).unwrap();
        let response = self.client.request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.send(Method::GET, path).await
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn votes_count_and_the_doughnut_fails() {
    let mut app = App::start(1.0).await;
    let list: Value = serde_json::from_str(&app.get("/api/list").await.1).unwrap();
    assert_eq!(list.as_array().unwrap().len(), catalogue::all().len());

    for entry in catalogue::all().iter().filter(|entry| entry.shortcode != catalogue::DOUGHNUT) {
        let answer = app.get(&format!("/api/vote?choice={}", entry.shortcode)).await;
        assert_eq!(answer, (StatusCode::OK, String::new()), "{}", entry.shortcode);
    }
    assert_eq!(app.get("/api/vote?choice=%3Ataco%3A").await.0, StatusCode::OK);
    let (status, body) = app.get("/api/vote?choice=:doughnut:").await;
    assert_eq!((status, body.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, r#"{"error":"Unknown: ERROR"}"#));

    let board: Value = serde_json::from_str(&app.get("/api/leaderboard").await.1).unwrap();
    assert_eq!(board.as_array().unwrap().len(), catalogue::all().len() - 1);
    assert_eq!(board[0], serde_json::json!({ "shortcode": ":taco:", "unicode": "🌮", "votes": "2" }));

    app.stop.send(true).unwrap();
    while let Some(ended) = app.servers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_failure_rate_of_zero_mends_the_doughnut() {
    let app = App::start(0.0).await;
    assert_eq!(app.get("/api/vote?choice=:doughnut:").await.0, StatusCode::OK);
}

#[tokio::test]
async fn mistakes_are_the_clients_and_pages_are_there() {
    let app = App::start(1.0).await;
    for path in ["/api/vote", "/api/vote?choice=", "/api/vote?choice=:nothing:"] {
        assert_eq!(app.get(path).await.0, StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(app.get("/nothing").await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.send(Method::DELETE, "/").await.0, StatusCode::METHOD_NOT_ALLOWED);
    for (path, part) in [
        ("/", "<title>Emoji Vote"),
        ("/leaderboard", "<title>Emoji Vote"),
        ("/js", "/api/vote?choice="),
        ("/img/favicon.ico", "<svg"),
        ("/dist/style.css", ".grid"),
    ] {
        let (status, body) = app.get(path).await;
        assert!(status == StatusCode::OK && body.contains(part), "{path}: {status}");
    }
}

#[tokio::test]
async fn a_lost_backend_is_an_error_of_the_server() {
    let closed = listen().await.local_addr().unwrap().to_string();
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let backends = Backends::new(&closed, &closed).unwrap();
    let mut servers = JoinSet::new();
    servers.spawn(web::serve_on(listener, backends, stopped));
    let client = Client::builder(TokioExecutor::new()).build_http();
    let app = App { address, client, stop, servers };
    let (status, body) = app.get("/api/list").await;
    assert!(status == StatusCode::INTERNAL_SERVER_ERROR && body.contains("Unavailable"), "{status} {body}");
}
