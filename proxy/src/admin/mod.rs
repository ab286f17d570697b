//! Serves the admin endpoints, for operators, probes and Prometheus.
//!
//! This is a small HTTP/1 server. It must answer while the proxy is overloaded, and must not overload it: the number of
//! connections and their duration are limited.
#![forbid(unsafe_code)]

mod env;
mod routes;

use std::{convert::Infallible, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use crate::{http::Worst, logging::LevelHandle, metrics::Metrics};

/// The sources of the server's answers.
#[derive(Clone)]
pub struct Admin {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/ready`: what is missing, if anything.
    pub readiness: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// For `/config`. Must contain no secrets.
    pub config: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// For `/certificates.json`: those that peers are shown, without private keys.
    pub certificates: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// For `/http/worst.json`.
    pub worst: Arc<Worst>,
    /// For `/proxy-log-level`.
    pub log_level: LevelHandle,
}

/// A server that listens, and serves while [`Server::run`] is polled.
pub struct Server {
    listener: TcpListener,
    state: Arc<State>,
}

impl Server {
    /// On a listener that exists already: a predecessor may have handed it over. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn new(listener: std::net::TcpListener, admin: Admin) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let state = Arc::new(State { admin, scrapes: Semaphore::new(MAX_SCRAPES) });
        Ok(Self { listener: TcpListener::from_std(listener)?, state })
    }

    /// # Errors
    /// The kernel does not know the listener's address.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until dropped.
    pub async fn run(self) {
        accept(self.listener, self.state).await;
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

struct State {
    admin: Admin,
    /// Limits the number of concurrent scrapes: their text may be large.
    scrapes: Semaphore,
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Connections are aborted when this task ends.
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((socket, peer)) => {
                connections.spawn(connection(socket, peer, state.clone()));
            }
            Err(error) => {
                // Usually there are no free file descriptors: others must be closed first.
                tracing::warn!(%error, "admin server failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(socket: TcpStream, peer: SocketAddr, state: Arc<State>) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(routes::respond(&state, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(socket), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "admin connection failed"),
        Err(_) => tracing::debug!(%peer, "admin connection took too long"),
    }
}

const MAX_CONNECTIONS: usize = 64;
const MAX_SCRAPES: usize = 2;
const MAX_HEADER: usize = 16 * 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
