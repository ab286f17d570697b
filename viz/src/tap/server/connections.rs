//! Accepts connections and serves the routes on them: over TLS to the API server, in plain text on a dev VM's loopback.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    ServerConfig,
    server::{ResolvesServerCert, WebPkiClientVerifier},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::front_proxy::{ClientCertificate, FrontProxy};

/// A tap keeps one connection.
const MAX_CONNECTIONS: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// How connections are secured.
#[derive(Clone)]
pub(super) enum Security {
    Tls {
        certificate: Arc<dyn ResolvesServerCert>,
        front_proxy: Arc<FrontProxy>,
    },
    /// Loopback only.
    Plain,
}

/// Serves until `stop`, then ends all taps.
pub(super) async fn serve(
    listener: TcpListener,
    security: Security,
    router: Router,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of the tap API");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
        keep_alive(&stream);
        let (security, router, stop) = (security.clone(), router.clone(), stop.clone());
        connections.spawn(async move {
            tokio::select! {
                () = connection(stream, security, router) => {}
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, security: Security, router: Router) {
    match security {
        Security::Plain => http(stream, router, ClientCertificate::default()).await,
        Security::Tls { certificate, front_proxy } => match secure(stream, certificate, &front_proxy).await {
            Ok(stream) => {
                let (_, session) = stream.get_ref();
                let chain = session.peer_certificates();
                let leaf = chain.and_then(|chain| chain.first()).map(|leaf| Arc::from(leaf.as_ref()));
                http(stream, router, ClientCertificate(leaf)).await;
            }
            Err(error) => tracing::debug!(error, "a TLS handshake of the tap API failed"),
        },
    }
}

/// A client with a certificate must have one of the front proxy's authority. One without may see what anybody may.
async fn secure(
    stream: TcpStream,
    certificate: Arc<dyn ResolvesServerCert>,
    front_proxy: &FrontProxy,
) -> Result<TlsStream<TcpStream>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    let builder = match front_proxy.settings() {
        None => builder.with_no_client_auth(),
        Some(settings) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(settings.roots.clone(), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| error.to_string())?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    let accepting = TlsAcceptor::from(Arc::new(config)).accept(stream);
    timeout(HANDSHAKE_TIMEOUT, accepting)
        .await
        .map_err(|_| "it took too long".to_owned())?
        .map_err(|error| error.to_string())
}

async fn http<S>(stream: S, router: Router, certificate: ClientCertificate)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(certificate.clone());
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of the tap API ended");
    }
}

/// A reader that is gone without saying so is noticed, although a tap may have nothing to send for long.
fn keep_alive(stream: &TcpStream) {
    let settings = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    let socket = socket2::SockRef::from(stream);
    let set = socket.set_tcp_keepalive(&settings).and_then(|()| socket.set_tcp_nodelay(true));
    if let Err(error) = set {
        tracing::debug!(%error, "cannot set options of a connection");
    }
}
