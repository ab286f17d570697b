//! Accepts the API server's HTTPS connections and answers its reviews.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ServerConfig, server::ResolvesServerCert};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::review;
use crate::metrics::Metrics;

const MAX_CONNECTIONS: usize = 128;
/// A review holds an object and its previous state; etcd takes objects of 1.5 MiB.
const MAX_BODY: usize = 4 << 20;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// The API server itself closes connections that are idle for 90 s: it should be first, so that no request is lost.
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
/// After `stop`, the API server still finds this replica until it has noticed that it is not ready.
const LINGER: Duration = Duration::from_secs(3);
/// How long reviews may take to end after that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until a moment after `stop`, then lets reviews finish.
pub(super) async fn serve(
    listener: TcpListener,
    certificate: Arc<dyn ResolvesServerCert>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let acceptor = match config(certificate) {
        Ok(config) => TlsAcceptor::from(Arc::new(config)),
        Err(error) => {
            tracing::error!(%error, "cannot serve the webhook");
            return;
        }
    };
    let end = async {
        stop.cancelled().await;
        tokio::time::sleep(LINGER).await;
    };
    let mut end = std::pin::pin!(end);
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (connections, ending) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let accepted = tokio::select! {
            () = &mut end => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of the webhook");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Beyond the limit, connections are closed at once: a review that waits would hold up its kubectl.
        let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
        let connection = connection(stream, acceptor.clone(), metrics.clone(), ending.clone());
        connections.spawn(async {
            connection.await;
            drop(permit);
        });
    }
    ending.cancel();
    connections.close();
    if timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!("reviews did not end within {DRAIN_TIMEOUT:?}");
    }
}

fn config(certificate: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        // The API server usually has no certificate for webhooks. Reviews give nothing away and change nothing.
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, metrics: Metrics, ending: CancellationToken) {
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            // An API server without the caBundle closes here.
            tracing::debug!(%error, "a TLS handshake of the webhook failed");
            return;
        }
        Err(_) => return,
    };
    let service = service_fn(move |request| {
        let metrics = metrics.clone();
        async move { Ok::<_, Infallible>(respond(request, &metrics).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection of the webhook ended");
    }
}

async fn respond(request: Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only POST of an AdmissionReview\n");
    }
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let body = match timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "cannot read a review");
            return text(StatusCode::PAYLOAD_TOO_LARGE, "the review is longer than 4 MiB, or incomplete\n");
        }
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the review did not arrive within 5 s\n"),
    };
    let answer = match review::answer(&body) {
        Ok(answer) => answer,
        Err(error) => return text(StatusCode::BAD_REQUEST, error),
    };
    match serde_json::to_vec(&answer.review) {
        Ok(json) => {
            metrics.reviewed(answer.kind, answer.result);
            response(StatusCode::OK, json, "application/json")
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<Full<Bytes>> {
    response(status, body.into().into_bytes(), "text/plain; charset=utf-8")
}

fn response(status: StatusCode, body: Vec<u8>, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
