//! Does the TLS handshakes of accepted connections: TLS 1.3, within a time limit.

use std::{io, sync::Arc, time::Duration};

use rustls::{ServerConfig, server::ResolvesServerCert};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Clients are node proxies, which take a few milliseconds for it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const ALPN: &[u8] = b"h2";

/// Accepts TLS connections with the certificate that the resolver has at that moment.
#[derive(Clone)]
pub(super) struct Handshakes(TlsAcceptor);

/// Why a connection was not accepted: the label of the metric, and the error.
pub(super) struct Failed(pub(super) &'static str, pub(super) io::Error);

impl Handshakes {
    pub(super) fn new(certificate: Arc<dyn ResolvesServerCert>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            // Tokens authenticate clients: a node proxy has no certificate before it has called Certify.
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Each connection proves the certificate of today.
        config.send_tls13_tickets = 0;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failed> {
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.0.accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Failed("error", error)),
            Err(_) => Err(Failed("timeout", io::ErrorKind::TimedOut.into())),
        }
    }
}
