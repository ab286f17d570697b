//! Do two credentials talk, is everybody else refused, and does every byte arrive?

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

/// A connection to `server`, with everything sent that the server waits for.
pub(crate) async fn connect<IO: AsyncRead + AsyncWrite + Unpin>(
    credential: &Credential,
    server: &Identity,
    server_name: &str,
    endpoint: SocketAddr,
    io: IO,
) -> Result<TlsStream<IO>, TlsError> {
    let mut stream = ClientHello::new(credential, server, server_name, endpoint)?.secure(io).await?;
    stream.flush().await?;
    Ok(stream)
}

/// Both handshakes at once; the client wants `server`.
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

/// How the client learns that the server refused it: with its first read.
async fn first_read<IO: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<IO>) -> TlsError {
    stream.read_u8().await.expect_err("the server refused").into()
}

/// Sends a word each way; a client keeps the ticket that comes with the answer.
async fn greet<IO: AsyncRead + AsyncWrite + Unpin>(client: &mut TlsStream<IO>, server: &mut TlsStream<IO>) {
    say(client, server).await;
    say(server, client).await;
}

async fn say<IO: AsyncRead + AsyncWrite + Unpin>(from: &mut TlsStream<IO>, to: &mut TlsStream<IO>) {
    from.write_all(b"word").await.unwrap();
    from.flush().await.unwrap();
    let mut got = [0; 4];
    to.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"word");
}

/// A credential with a chain of its own making.
fn custom(ca: &Ca, name: &str, sans: &[&str], lifetime: Duration) -> Credential {
    let (leaf, key) = ca.leaf(sans, lifetime);
    Credential::new(identity(name), vec![leaf], key, &ca.anchors()).unwrap()
}
