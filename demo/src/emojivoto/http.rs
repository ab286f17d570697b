//! A small HTTP/1.1 server: one function answers all requests.

use std::convert::Infallible;
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// All pages are small.
pub(crate) type Body = Full<Bytes>;

/// Further connections wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// A client that sends no request for so long is disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long requests in progress may take after a stop.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Listens on all addresses, IPv4 and IPv6. `setting` is the one to change if the port is taken.
pub(crate) async fn listen(port: u16, setting: &str) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on port {port}; choose another one by {setting}"))
}

/// Serves until `stop` changes. Then requests in progress are answered, and connections are closed.
pub(crate) async fn serve<H, F>(listener: TcpListener, handle: H, mut stop: watch::Receiver<bool>)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(slot) = slots.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        // Forgets connections that ended.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (handle, stop) = (handle.clone(), stop.clone());
                connections.spawn(async move {
                    serve_connection(stream, handle, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // For example no free descriptors, which is temporary.
                println!("accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    // Connections that have not ended by then are closed.
    let _ = timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
}

async fn serve_connection<H, F>(stream: TcpStream, handle: H, mut stop: watch::Receiver<bool>)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    // It fails only for a connection that is gone.
    let _ = stream.set_nodelay(true);
    let answer = |request| {
        let response = handle(request);
        async { Ok::<_, Infallible>(response.await) }
    };
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service_fn(answer))
    );
    // Errors are the client's: it went away, or did not speak HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// A response in plain text.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", text.to_owned())
}

/// A response in JSON.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    respond(status, "application/json; charset=utf-8", value.to_string())
}

/// A response of this media type.
pub(crate) fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
