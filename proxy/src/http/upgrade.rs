//! Connections that become something else: Upgrade (RFC 9110, section 7.8), CONNECT, and extended CONNECT (RFC 8441).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

use super::{connection::Connection, headers, io::HttpIo, link::Answer};
use crate::net::{self, Peer};

/// The client's side of an upgrade that the application has not accepted yet.
pub(super) struct Upgrade {
    client: OnUpgrade,
    connect: bool,
}

/// Both sides of an upgrade that the application has accepted.
pub(super) struct Tunnel {
    client: OnUpgrade,
    server: OnUpgrade,
}

impl Upgrade {
    /// `None`: the request asks for no upgrade.
    pub(super) fn of<B>(request: &mut Request<B>) -> Option<Self> {
        if !headers::is_upgrade(request) {
            return None;
        }
        let connect = request.method() == Method::CONNECT;
        Some(Self { client: hyper::upgrade::on(request), connect })
    }

    /// `None`: the application has not accepted it. The client's stream is told.
    pub(super) fn accept<B>(self, response: &mut Response<B>, connection: &Connection) -> Option<Tunnel> {
        let status = response.status();
        let accepted =
            if self.connect { status.is_success() } else { status == StatusCode::SWITCHING_PROTOCOLS };
        if accepted {
            connection.link().answer(Answer::Accepted);
        }
        accepted.then(|| Tunnel { client: self.client, server: hyper::upgrade::on(response) })
    }
}

impl Tunnel {
    /// Copies bytes until both directions have ended or one connection breaks.
    pub(super) async fn run(self) {
        let (client, server) = match tokio::try_join!(self.client, self.server) {
            Ok((client, server)) => (client, server),
            Err(error) => return debug!(%error, "an upgrade did not come about"),
        };
        let (mut client, mut server) = (TunnelIo::of(client), TunnelIo::of(server));
        match net::copy(&mut client, &mut server, &Unobserved).await {
            Ok(()) => {
                client.end_orderly();
                server.end_orderly();
            }
            Err(broken) => debug!(%broken, "a tunnel ended early"),
        }
    }
}

/// A stream after an upgrade.
enum TunnelIo {
    /// The whole connection.
    Connection(HttpIo),
    /// A stream of HTTP/2.
    Stream(TokioIo<Upgraded>),
}

impl TunnelIo {
    fn of(upgraded: Upgraded) -> Self {
        match upgraded.downcast::<TokioIo<HttpIo>>() {
            Ok(parts) => Self::Connection(parts.io.into_inner().into_tunnel(parts.read_buf)),
            Err(stream) => Self::Stream(TokioIo::new(stream)),
        }
    }

    fn end_orderly(&self) {
        if let Self::Connection(io) = self {
            io.end_orderly();
        }
    }
}

struct Unobserved;

impl net::Observer for Unobserved {
    fn read(&self, _: Peer, _: usize) {}
    fn written(&self, _: Peer, _: usize) {}
}

impl AsyncRead for TunnelIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Stream(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Stream(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_flush(cx),
            Self::Stream(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_shutdown(cx),
            Self::Stream(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
