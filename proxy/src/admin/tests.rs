//! Tests of the admin server's answers, and of misbehaving clients.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::logging;

struct Running {
    addr: SocketAddr,
    _server: AbortOnDropHandle<()>,
    ready: Arc<AtomicBool>,
    _logging: tracing::subscriber::DefaultGuard,
}

impl Running {
    fn start() -> Self {
        let (log_level, _logging) = logging::tests::handle();
        let ready = Arc::new(AtomicBool::new(false));
        let admin = Admin {
            metrics: Metrics::new(&[]),
            readiness: Arc::new({
                let ready = ready.clone();
                move || if ready.load(Ordering::Relaxed) { Ok(()) } else { Err("no certificate yet".into()) }
            }),
            config: Arc::new(|| serde_json::json!({ "node": "n1" })),
            certificates: Arc::new(|| serde_json::json!({ "workloads": {} })),
            worst: Arc::default(),
            log_level,
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::new(listener, admin).unwrap();
        let addr = server.addr().unwrap();
        Self { addr, _server: AbortOnDropHandle::new(tokio::spawn(server.run())), ready, _logging }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// The whole answer. The server must close the connection after it.
    async fn ask(&self, request: &str) -> String {
        let mut socket = self.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
    }
}

#[tokio::test]
async fn probes_are_answered() {
    let running = Running::start();
    assert!(running.get("/live").await.starts_with("HTTP/1.1 200 OK\r\n"));
    let answer = running.get("/ready").await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("not ready: no certificate yet\n"),
        "{answer}"
    );
    running.ready.store(true, Ordering::Relaxed);
    assert!(running.get("/ready?verbose").await.ends_with("\r\n\r\nready\n"));
    let head = running.ask("HEAD /ready HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(head.contains("content-length: 6") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    let running = Running::start();
    let answer = running.get("/metrics").await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
    assert!(answer.contains("# TYPE process_cpu_seconds counter\n"));
    assert!(answer.ends_with("# EOF\n"));
}

#[tokio::test]
async fn configuration_and_environment_are_shown() {
    let running = Running::start();
    let body = |answer: String| serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let config: serde_json::Value = body(running.get("/config").await);
    assert_eq!(config["node"], "n1");
    let certificates: serde_json::Value = body(running.get("/certificates.json").await);
    assert_eq!(certificates, serde_json::json!({ "workloads": {} }));
    let env: serde_json::Value = body(running.get("/env.json?PATH").await);
    assert_eq!(env.as_object().unwrap().keys().collect::<Vec<_>>(), ["PATH"]);
}

#[tokio::test]
async fn the_log_level_is_changed() {
    let running = Running::start();
    assert!(running.get("/proxy-log-level").await.ends_with("\r\n\r\ninfo\n"));
    let put = |level: &str| {
        format!("PUT /proxy-log-level HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{level}", level.len())
    };
    assert!(running.ask(&put("warn,weft_proxy=trace")).await.starts_with("HTTP/1.1 204 "));
    assert!(running.get("/proxy-log-level").await.ends_with("\r\n\r\nweft_proxy=trace,warn\n"));
    assert!(running.ask(&put("weft=loud")).await.starts_with("HTTP/1.1 400 "));
    assert!(running.ask(&put(&"x".repeat(5_000))).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let running = Running::start();
    let answer = running.get("/secrets").await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("/metrics"), "{answer}");
    let answer = running.ask("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    let answer = running.ask("DELETE /proxy-log-level HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD, PUT\r\n"), "{answer}");
    assert!(running.ask("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn silent_clients_are_disconnected_and_do_not_block_others() {
    let running = Running::start();
    let start = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 20 {
        silent.push(running.connect().await);
    }
    assert!(
        running.get("/live").await.starts_with("HTTP/1.1 200 "),
        "a client must be served once the silent ones are disconnected"
    );
    assert!(start.elapsed() < 2 * HEADER_TIMEOUT + Duration::from_secs(1));
    let mut answer = Vec::new();
    silent[0].read_to_end(&mut answer).await.unwrap();
}

#[tokio::test]
async fn the_server_stops_when_dropped() {
    let running = Running::start();
    let (addr, mut open) = (running.addr, running.connect().await);
    drop(running);
    let mut answer = Vec::new();
    // A reset or an end of the stream, but no answer and no delay.
    let _ = tokio::time::timeout(Duration::from_secs(1), open.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty());
    assert!(TcpStream::connect(addr).await.is_err());
}
