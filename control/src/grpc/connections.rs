//! Accepts the TLS connections of gRPC clients, up to a limit.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::{
    quota::{Counted, Quota},
    tls::{Failed, Handshakes},
};
use crate::metrics::Metrics;

/// A node proxy has one connection.
const MAX_CONNECTIONS: usize = 16_384;
/// Handshakes in progress. Further connections wait in the kernel's queue.
const MAX_HANDSHAKES: usize = 256;

/// A connection that counts towards the limit until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    metrics: Metrics,
    _counted: Counted,
}

/// Accepts connections until `stop`.
pub(super) fn accept(
    listener: TcpListener,
    handshakes: Handshakes,
    metrics: Metrics,
    stop: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    // The server takes connections at once; the channel only passes them on.
    let (accepted, connections) = mpsc::channel(1);
    tokio::spawn(async move {
        let quota = Quota::new(MAX_CONNECTIONS);
        let permits = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => return,
                client = next(&listener) => client,
            };
            let Some(counted) = quota.admit(peer.ip()) else {
                metrics.handshake("quota");
                tracing::debug!(%peer, "refused a connection: this client has too many");
                continue;
            };
            let (handshakes, metrics, accepted) = (handshakes.clone(), metrics.clone(), accepted.clone());
            tokio::spawn(async move {
                match handshakes.accept(stream).await {
                    Ok(stream) => {
                        metrics.handshake("ok");
                        metrics.connection_opened();
                        let connection = Connection { stream, peer, metrics, _counted: counted };
                        // An error means that the server has stopped.
                        let _ = accepted.send(Ok(connection)).await;
                    }
                    Err(Failed(reason, error)) => {
                        metrics.handshake(reason);
                        tracing::debug!(%peer, %error, "a TLS handshake failed");
                    }
                }
                drop(permit);
            });
        }
    });
    ReceiverStream::new(connections)
}

async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                return (stream, peer);
            }
            Err(error) => {
                // Usually there are no file descriptors left until a connection ends.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connection_closed();
    }
}

impl Connected for Connection {
    type ConnectInfo = SocketAddr;

    fn connect_info(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
