//! Secures connections between nodes.
//!
//! Mutual TLS 1.3 as the wire contract says. A client insists on the server's exact identity; a server asks for a
//! certificate, refuses a bad one and leaves it to policy whether none is good enough.
#![forbid(unsafe_code)]

mod anchors;
mod config;
mod credential;
mod engine;
mod error;
mod leftover;
mod name;
mod over_tcp;
mod provider;
mod scratch;
mod session;
mod sessions;
mod stream;
mod verify;

use std::{future::poll_fn, net::SocketAddr, sync::Arc};

use rustls::{
    client::{Resumption, UnbufferedClientConnection},
    server::UnbufferedServerConnection,
};
use rustls_pki_types::{DnsName, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};

use self::engine::Engine;
pub use self::{
    anchors::{Anchors, AnchorsError},
    config::ConfigError,
    credential::{Credential, CredentialError},
    error::TlsError,
    name::{Identity, InvalidIdentity},
    provider::{ALPN_TCP, info, provider},
    stream::TlsStream,
};
pub(crate) use self::{
    sessions::Sessions,
    verify::{Facts, ServerVerifier, all_current},
};

/// Who is on the other side of a connection that we accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Proven by its certificate; `None`: it showed none.
    pub identity: Option<Identity>,
    /// The protocol agreed on, if the client offered any.
    pub alpn: Option<Vec<u8>>,
    /// An earlier session was resumed. The identity is as good as after a full handshake.
    pub resumed: bool,
}

/// What a client says first, ready to be sent: making it takes longer than opening a connection.
pub struct ClientHello<'a> {
    credential: &'a Credential,
    engine: Engine,
}

impl<'a> ClientHello<'a> {
    /// For a connection to `server`, asking for `server_name`.
    ///
    /// `endpoint` is where the connection leads: sessions are resumed with the same endpoint only.
    pub fn new(
        credential: &'a Credential,
        server: &Identity,
        server_name: &str,
        endpoint: SocketAddr,
    ) -> Result<Self, TlsError> {
        let mut config = (*credential.client).clone();
        if server.as_str() == server_name {
            config.resumption = credential.sessions().at(endpoint);
        } else {
            // Tickets are filed under the name in SNI alone.
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

    /// Secures `io`. The client's proof of itself is sent with the first bytes, or flushed: the server waits for it.
    /// The caller bounds the time.
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

/// Secures a connection that a client opened to the identity of `credential`.
///
/// A client's certificate that is bad, expired or names nobody is an error. The caller bounds the time.
pub async fn accept<IO>(credential: &Credential, io: IO) -> Result<(TlsStream<IO>, Peer), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let connection = UnbufferedServerConnection::new(credential.server.clone())?;
    let mut stream = TlsStream::server(connection, io);
    handshake(&mut stream).await?;
    match judge(credential, &stream) {
        Ok(identity) => {
            let peer = Peer { identity, alpn: stream.alpn().map(<[u8]>::to_vec), resumed: stream.resumed() };
            Ok((stream, peer))
        }
        Err(error) => {
            stream.forget_outgoing();
            farewell(&mut stream).await;
            Err(error)
        }
    }
}

/// What rustls does not look at: an old session's certificates, and whom a certificate names.
fn judge<IO>(credential: &Credential, stream: &TlsStream<IO>) -> Result<Option<Identity>, TlsError> {
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
        // Certified by our own CA but as nobody: never to be taken for a client without a certificate.
        None => Err(TlsError::BadName { expected: "an identity".to_owned(), presented: facts.names.clone() }),
    }
}

async fn handshake<IO>(stream: &mut TlsStream<IO>) -> Result<(), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let result = poll_fn(|cx| stream.poll_handshake(cx)).await;
    if result.is_err() {
        farewell(stream).await;
    }
    result
}

/// The caller is about to drop the connection: let the peer know why.
async fn farewell<IO>(stream: &mut TlsStream<IO>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| stream.poll_farewell(cx)).await;
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;
