//! Connects gRPC clients over TLS to a server with a certain identity.

use std::{
    future::{Future, Ready, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    codegen::{Service, http::Uri},
    transport::{Channel, Endpoint},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The protocol that weft-control speaks inside TLS, as ALPN names it.
pub const ALPN: &[u8] = b"h2";

/// How long connecting and the handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to `address` and does the handshake with a configuration that `config` makes for each connection.
#[derive(Clone, Debug)]
pub struct Connector<F> {
    pub address: SocketAddr,
    /// The name sent to the server, and given to the verifier of the configuration.
    pub server: ServerName<'static>,
    pub config: F,
}

/// Why a client cannot be made or cannot connect.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the trust anchors cannot be read: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{0:?} is no name of a server")]
    Name(String),
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("the TLS handshake took too long")]
    Timeout,
}

/// Connects to the server with exactly the identity `server`. It must have a certificate that chains to `anchors` (PEM).
pub async fn connect(address: SocketAddr, anchors: &[u8], server: &str) -> Result<Channel, Error> {
    let config = Arc::new(config(anchors)?);
    let connector =
        Connector { address, server: server_name(server)?, config: move || Ok(Arc::clone(&config)) };
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true);
    Ok(endpoint.connect_with_connector(connector).await?)
}

/// The same over a connection that exists already, such as a forwarded port. When it ends, so does the channel.
pub async fn over<S>(stream: S, anchors: &[u8], server: &str) -> Result<Channel, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = TlsConnector::from(Arc::new(config(anchors)?)).connect(server_name(server)?, stream);
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, handshake).await.map_err(|_| Error::Timeout)?;
    // The URI only names the authority of requests.
    let endpoint = Endpoint::from_shared(format!("https://{server}"))?;
    Ok(endpoint.connect_with_connector(Once(Some(stream.map_err(Error::Handshake)?))).await?)
}

/// A server's name for TLS.
///
/// # Errors
/// It is no DNS name.
pub fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    let invalid = |_: InvalidDnsNameError| Error::Name(name.to_owned());
    ServerName::try_from(name.to_owned()).map_err(invalid)
}

/// TLS 1.3, without a certificate of the client's: tokens authenticate it.
fn config(anchors: &[u8]) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for anchor in CertificateDer::pem_slice_iter(anchors) {
        roots.add(anchor?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Hands out the only connection that there is.
struct Once<S>(Option<TlsStream<S>>);

impl<S> Service<Uri> for Once<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Response = TokioIo<TlsStream<S>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().map(TokioIo::new).ok_or_else(|| "the connection has ended".into()))
    }
}

impl<F> Service<Uri> for Connector<F>
where
    F: Fn() -> Result<Arc<ClientConfig>, BoxError>,
{
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    /// The address decides, not the URI: that only names the authority of requests.
    fn call(&mut self, _: Uri) -> Self::Future {
        let (address, server, config) = (self.address, self.server.clone(), (self.config)());
        Box::pin(async move {
            let connector = TlsConnector::from(config?);
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(connector.connect(server, stream).await?))
        })
    }
}
