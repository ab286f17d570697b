//! Tests of handshakes, session resumption and byte streams, with helpers for them.

mod bytes;
mod handshake;
mod resumption;

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream},
};

use super::{
    testing::{Ca, identity},
    *,
};

type Outcome<IO> = (Result<TlsStream<IO>, TlsError>, Result<(TlsStream<IO>, Peer), TlsError>);

fn endpoint(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 244, 1, 2], port))
}

/// Connects to `server` and flushes, so that the server has the client's certificate.
pub(crate) async fn connect<IO: AsyncRead + AsyncWrite + Unpin>(
    credential: &Credential,
    server: &Identity,
    server_name: &str,
    endpoint: SocketAddr,
    io: IO,
) -> Result<TlsStream<IO>, TlsError> {
    let mut stream =
        ClientHello::new(credential, server, server_name, endpoint, Inner::Tcp.offered())?.secure(io).await?;
    stream.flush().await?;
    Ok(stream)
}

/// Runs both handshakes; the client asks for the identity `want`.
async fn pair(client: &Credential, server: &Credential, want: &Identity) -> Outcome<DuplexStream> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::join!(connect(client, want, want.as_str(), endpoint(80), near), accept(server, far))
}

/// A TCP connection on the loopback.
async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// The error of the client's first read, by which it learns that the server refused it.
async fn first_read<IO: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<IO>) -> TlsError {
    stream.read_u8().await.expect_err("the server refused").into()
}

/// Sends four bytes each way. The client keeps the ticket that comes with the answer.
async fn exchange<IO: AsyncRead + AsyncWrite + Unpin>(
    client: &mut TlsStream<IO>,
    server: &mut TlsStream<IO>,
) {
    send_word(client, server).await;
    send_word(server, client).await;
}

async fn send_word<IO: AsyncRead + AsyncWrite + Unpin>(from: &mut TlsStream<IO>, to: &mut TlsStream<IO>) {
    from.write_all(b"word").await.unwrap();
    from.flush().await.unwrap();
    let mut got = [0; 4];
    to.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"word");
}

/// A credential whose certificate has these names and this lifetime.
fn custom(ca: &Ca, name: &str, sans: &[&str], lifetime: Duration) -> Credential {
    let (leaf, key) = ca.leaf(sans, lifetime);
    Credential::new(identity(name), vec![leaf], key, &ca.anchors()).unwrap()
}
