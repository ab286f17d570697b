//! A TLS client that a scenario controls byte by byte.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::Leaf;
use crate::{dial, netns::Netns};

/// A client for one target.
pub struct Client {
    pub netns: Netns,
    pub target: SocketAddr,
    /// The server name in the ClientHello.
    pub sni: String,
    pub alpn: Vec<Vec<u8>>,
    /// The anchor for [`Verdict::Answered::proven`]; `None`: only the name in the certificate is checked.
    pub anchor: Option<CertificateDer<'static>>,
}

/// How the ClientHello is sent.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// The most bytes per segment.
    pub piece: usize,
    /// The pause between two segments.
    pub pause: Duration,
    /// The most bytes of the ClientHello per TLS record.
    pub record: Option<usize>,
}

#[derive(Debug)]
pub enum Verdict {
    /// The application answered.
    Answered {
        bytes: Vec<u8>,
        /// Whether the server's certificate has the requested name (and chains to the client's anchor).
        proven: bool,
    },
    /// The connection ended without a byte from the application.
    Refused(io::Error),
}

impl Default for Attempt {
    fn default() -> Self {
        Self { piece: usize::MAX, pause: Duration::ZERO, record: None }
    }
}

impl Client {
    /// A client that behaves as a weft proxy would.
    pub fn new(netns: &Netns, target: SocketAddr, sni: &str) -> Self {
        let (netns, sni) = (netns.clone(), sni.to_owned());
        Self { netns, target, sni, alpn: vec![b"weft/tcp".to_vec()], anchor: None }
    }

    /// Connects with `leaf` (`None`: no client certificate), sends `request` and reads to the end.
    pub fn attempt(&self, leaf: Option<Leaf>, request: &[u8], attempt: Attempt) -> Result<Verdict> {
        let proven = Arc::new(AtomicBool::new(false));
        let mut tls = self.connection(leaf, attempt, proven.clone())?;
        let mut stream = dial::from(&self.netns, self.target)?;
        slowly(&mut tls, &stream, attempt).context("sending the ClientHello")?;
        let mut exchange = || -> io::Result<Vec<u8>> {
            let mut through = rustls::Stream::new(&mut tls, &mut stream);
            through.write_all(request)?;
            through.flush()?;
            through.conn.send_close_notify();
            let mut answer = Vec::new();
            through.read_to_end(&mut answer)?;
            Ok(answer)
        };
        Ok(match exchange() {
            Ok(bytes) if bytes.is_empty() => {
                Verdict::Refused(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"))
            }
            Ok(bytes) => Verdict::Answered { bytes, proven: proven.load(Ordering::Relaxed) },
            Err(e) => Verdict::Refused(e),
        })
    }

    /// The client's side of a handshake that has not begun.
    pub fn begin(&self, leaf: Option<Leaf>) -> Result<ClientConnection> {
        self.connection(leaf, Attempt::default(), Arc::default())
    }

    /// The bytes of a ClientHello.
    pub fn hello(&self) -> Result<Vec<u8>> {
        let mut tls = self.connection(None, Attempt::default(), Arc::default())?;
        Ok(hello(&mut tls)?)
    }

    fn connection(
        &self,
        leaf: Option<Leaf>,
        attempt: Attempt,
        proven: Arc<AtomicBool>,
    ) -> Result<ClientConnection> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = match &self.anchor {
            Some(anchor) => {
                let mut roots = RootCertStore::empty();
                roots.add(anchor.clone())?;
                Some(WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build()?)
            }
            None => None,
        };
        let watcher = Arc::new(Watcher { provider: provider.clone(), chain, proven });
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(watcher);
        let mut config = match leaf {
            Some(leaf) => config.with_client_auth_cert(leaf.chain, leaf.key)?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.clone();
        // rustls includes the record header in the size.
        config.max_fragment_size = attempt.record.map(|bytes| bytes + 5);
        let name = ServerName::try_from(self.sni.clone()).context("server name")?;
        Ok(ClientConnection::new(Arc::new(config), name)?)
    }
}

// === impl Verdict ===

impl Verdict {
    /// The application's answer; a refusal is an error.
    pub fn answer(self) -> Result<Vec<u8>> {
        match self {
            Self::Answered { bytes, .. } => Ok(bytes),
            Self::Refused(e) => Err(anyhow!("refused: {e}")),
        }
    }

    /// The reason for the refusal; an answer is an error.
    pub fn refused(self) -> Result<io::Error> {
        match self {
            Self::Refused(e) => Ok(e),
            Self::Answered { bytes, .. } => Err(anyhow!(
                "the connection was accepted and the application answered {:?}",
                String::from_utf8_lossy(&bytes)
            )),
        }
    }
}

/// Sends the ClientHello as `attempt` says.
fn slowly(tls: &mut ClientConnection, stream: &TcpStream, attempt: Attempt) -> io::Result<()> {
    for piece in hello(tls)?.chunks(attempt.piece) {
        let mut out = stream;
        out.write_all(piece)?;
        thread::sleep(attempt.pause);
    }
    Ok(())
}

fn hello(tls: &mut ClientConnection) -> io::Result<Vec<u8>> {
    let mut hello = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut hello)?;
    }
    Ok(hello)
}

/// Accepts every server and records whether it proved the requested name.
#[derive(Debug)]
struct Watcher {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    proven: Arc<AtomicBool>,
}

impl ServerCertVerifier for Watcher {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let proven = match &self.chain {
            Some(chain) => chain.verify_server_cert(leaf, intermediates, server_name, ocsp, now).is_ok(),
            None => rustls::server::ParsedCertificate::try_from(leaf)
                .is_ok_and(|leaf| rustls::client::verify_server_name(&leaf, server_name).is_ok()),
        };
        self.proven.store(proven, Ordering::Relaxed);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
