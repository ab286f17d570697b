//! Mutual TLS 1.3 between nodes.
//!
//! A client insists on the server's exact identity. A server asks for a certificate and refuses a bad one; whether a
//! client without one may go on is decided by policy.
#![forbid(unsafe_code)]

mod anchors;
mod buffer;
mod config;
mod credential;
mod engine;
mod error;
mod name;
mod over_tcp;
mod pending;
mod provider;
mod session;
mod sessions;
mod stream;
mod verify;

use std::{future::poll_fn, net::SocketAddr, sync::Arc};

use rustls::{
    ServerConfig,
    client::{Resumption, UnbufferedClientConnection},
    server::UnbufferedServerConnection,
};
use rustls_pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};

use self::engine::Engine;
pub use self::{
    anchors::{Anchors, AnchorsError},
    config::ConfigError,
    credential::{Credential, CredentialError},
    error::TlsError,
    name::{Identity, InvalidIdentity},
    provider::{Inner, info, provider},
    stream::TlsStream,
};
pub(crate) use self::{
    provider::VERSIONS,
    sessions::Sessions,
    verify::{Facts, ServerVerifier, all_current},
};

/// Who is on the other side of a connection that we accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What its certificate proves; `None` if it showed none.
    pub identity: Option<Identity>,
    /// What the connection carries, if the client said so: it is another weft proxy then.
    pub inner: Option<Inner>,
    /// Whether an earlier session was resumed. The identity is as good as after a full handshake.
    pub resumed: bool,
}

/// A ClientHello that is ready to be sent. It is made first, because making it takes longer than opening a connection.
pub struct ClientHello<'a> {
    credential: &'a Credential,
    engine: Engine,
}

impl<'a> ClientHello<'a> {
    /// For a connection to the identity `server`, with `server_name` as SNI, that carries something of what `alpn` names.
    ///
    /// `endpoint` is the address that will be dialled: sessions are resumed with the same endpoint only.
    pub fn new(
        credential: &'a Credential,
        server: &Identity,
        server_name: &str,
        endpoint: SocketAddr,
        alpn: &[&[u8]],
    ) -> Result<Self, TlsError> {
        let mut config = (*credential.client).clone();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        if server.as_str() == server_name {
            config.resumption = credential.sessions().at(endpoint);
        } else {
            // Tickets are stored by SNI alone, which is not the server's identity here.
            config.resumption = Resumption::disabled();
            let verifier = ServerVerifier::new(credential.roots(), Some(server.clone()))
                .map_err(|error| TlsError::Protocol(rustls::Error::General(error.to_string())))?;
            config.dangerous().set_certificate_verifier(verifier);
        }
        let name = DnsName::try_from(server_name.to_owned())
            .map_err(|_| TlsError::Protocol(rustls::Error::General("server name".to_owned())))?;
        let connection = UnbufferedClientConnection::new(Arc::new(config), ServerName::DnsName(name))?;
        Ok(Self { credential, engine: Engine::client(connection)? })
    }

    /// Performs the handshake on `io`. The caller bounds the time.
    ///
    /// The client's certificate is sent with the first bytes or by a flush. The server waits for it.
    pub async fn secure<IO>(self, io: IO) -> Result<TlsStream<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = TlsStream::client(self.engine, io);
        handshake(&mut stream).await?;
        if stream.resumed() {
            self.credential.recheck_server(stream.peer_chain(), UnixTime::now())?;
        }
        Ok(stream)
    }
}

/// Performs the server's side of a handshake as the identity of `credential`. The caller bounds the time.
///
/// `config` is one of those of `credential`. That of opaque ports tells a weft proxy, which would send HTTP, that nobody
/// here interprets it. A client's certificate that is bad, expired or names no identity is an error.
pub async fn accept_with<IO>(
    config: &Arc<ServerConfig>,
    credential: &Credential,
    io: IO,
) -> Result<(TlsStream<IO>, Peer), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let connection = UnbufferedServerConnection::new(config.clone())?;
    let mut stream = TlsStream::server(connection, io);
    handshake(&mut stream).await?;
    match verify_peer(credential, &stream) {
        Ok(identity) => {
            let inner = stream.alpn().and_then(Inner::from_alpn);
            let peer = Peer { identity, inner, resumed: stream.resumed() };
            Ok((stream, peer))
        }
        Err(error) => {
            stream.drop_outgoing();
            send_alert(&mut stream).await;
            Err(error)
        }
    }
}

/// [`accept_with`] the configuration of ports that are not opaque.
#[cfg(test)]
pub(crate) async fn accept<IO>(credential: &Credential, io: IO) -> Result<(TlsStream<IO>, Peer), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    accept_with(&credential.server, credential, io).await
}

/// Checks what rustls does not: the certificates of a resumed session, and which identity a certificate names.
fn verify_peer<IO>(credential: &Credential, stream: &TlsStream<IO>) -> Result<Option<Identity>, TlsError> {
    let chain = stream.peer_chain();
    let Some(leaf) = chain.first() else {
        return Ok(None);
    };
    if stream.resumed() {
        credential.recheck_client(chain, UnixTime::now())?;
    }
    let facts = Facts::of_verified(leaf)?;
    match facts.identity() {
        Some(identity) => Ok(Some(identity.clone())),
        // Our own CA issued it, but for no identity. That is not the same as a client without a certificate.
        None => Err(TlsError::BadName { expected: "an identity".to_owned(), presented: facts.names.clone() }),
    }
}

/// The identity of a client whose certificate rustls has verified.
pub(crate) fn client_identity(chain: Option<&[CertificateDer<'_>]>) -> Option<Identity> {
    Facts::of(chain?.first()?).ok()?.identity().cloned()
}

async fn handshake<IO>(stream: &mut TlsStream<IO>) -> Result<(), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let result = poll_fn(|cx| stream.poll_handshake(cx)).await;
    if result.is_err() {
        send_alert(stream).await;
    }
    result
}

/// Tells the peer why, before the caller drops the connection.
async fn send_alert<IO>(stream: &mut TlsStream<IO>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| stream.poll_send_alert(cx)).await;
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;
