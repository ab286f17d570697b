//! Serves the Tap API: mTLS with the node proxy's own certificate, for one identity only.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;
use tracing::{debug, warn};
use weft_api::linkerd::tap::tap_server::TapServer;

use super::{Taps, service::Service};
use crate::{
    identity::Lease,
    logging::LogLimiter,
    tls::{Identity, client_identity},
};

const ALPN: &[u8] = b"h2";
/// The tap service has one connection per replica and a few in the making.
const MAX_CONNECTIONS: usize = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_STREAMS: u32 = 64;
/// A request holds a match, and metadata with the names of pods.
const MAX_MESSAGE: usize = 64 << 10;
const MAX_METADATA: u32 = 96 << 10;
/// A client that does not answer pings is gone, and its taps end.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// How long connections may take to end once the proxy drains.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The server of the Tap API.
pub struct Server {
    pub taps: Arc<Taps>,
    /// The certificate of the node proxy itself.
    pub lease: Lease,
    /// The identity that may tap.
    pub client: Identity,
    /// Cancelled when the proxy stops serving.
    pub draining: CancellationToken,
}

/// Why a client is refused: the kind of reason, and the reason.
struct Refusal(&'static str, String);

/// Opens the listener. A predecessor that has not given way yet listens at the same address.
///
/// # Errors
/// The address cannot be used.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Server {
    /// Serves until the proxy drains.
    pub async fn run(self, listener: std::net::TcpListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return warn!(%error, "cannot serve taps"),
        };
        let server = Arc::new(self);
        let (permits, log) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), Arc::new(LogLimiter::default()));
        loop {
            let accepted = tokio::select! {
                () = server.draining.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "failed to accept a connection of a tap");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            // Beyond the limit, connections are closed at once: one of the tap service's is served already.
            let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
            let (server, log) = (server.clone(), log.clone());
            tokio::spawn(async move {
                match server.secure(stream).await {
                    Ok(stream) => server.serve(stream).await,
                    Err(Refusal(kind, reason)) => {
                        server.taps.counts.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if log.allow(kind) {
                            warn!(%peer, reason, "a tap was refused");
                        }
                    }
                }
                drop(permit);
            });
        }
    }

    /// Accepts a client that proves the identity that may tap.
    ///
    /// # Errors
    /// Why the client is refused.
    async fn secure(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Refusal> {
        let own = || Refusal("no certificate", "the proxy has no certificate of its own yet".to_owned());
        let credential = self.lease.current().ok_or_else(own)?;
        let acceptor = TlsAcceptor::from(credential.server_for(ALPN));
        let handshake = |text: String| Refusal("handshake", format!("the TLS handshake failed: {text}"));
        let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
            .await
            .map_err(|_| handshake("it took too long".to_owned()))?
            .map_err(|error| handshake(error.to_string()))?;
        let (_, session) = stream.get_ref();
        let nobody = || Refusal("no identity", "the client has no identity".to_owned());
        let identity = client_identity(session.peer_certificates()).ok_or_else(nobody)?;
        if identity != self.client {
            let text = format!("{identity} may not tap, only {} may (--tap-identity)", self.client);
            return Err(Refusal("other identity", text));
        }
        Ok(stream)
    }

    async fn serve(&self, stream: TlsStream<TcpStream>) {
        let service = Service { taps: self.taps.clone(), draining: self.draining.clone() };
        let service = TapServer::new(service).max_decoding_message_size(MAX_MESSAGE);
        let service = service_fn(move |request| service.clone().call(request));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_METADATA)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                timeout(END_TIMEOUT, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            debug!(%error, "a connection of the tap service ended");
        }
    }
}
