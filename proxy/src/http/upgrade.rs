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

use super::{
    connection::Connection,
    headers,
    http2::Http2Tunnel,
    io::HttpIo,
    link::Answer,
    received::Received,
    served_stream::{ServedStream, TunnelTask},
};
use crate::net::{self, Peer};

/// The client's side of an upgrade that the application has not accepted yet.
pub(super) struct Upgrade {
    client: OnUpgrade,
    connect: bool,
    task: TunnelTask,
}

/// Both sides of an upgrade that the application has accepted.
pub(super) struct Tunnel {
    client: OnUpgrade,
    server: ServerSide,
    task: TunnelTask,
}

enum ServerSide {
    /// It has an HTTP/1 connection of its own.
    Connection(OnUpgrade),
    Stream(Http2Tunnel),
}

impl Upgrade {
    /// `None`: the request asks for no upgrade.
    pub(super) fn of<B>(request: &mut Request<B>) -> Option<Self> {
        if !headers::is_upgrade(request) {
            return None;
        }
        let connect = request.method() == Method::CONNECT;
        Some(Self { client: hyper::upgrade::on(request), connect, task: ServedStream::tunnel() })
    }

    /// The response, and both sides if the application has accepted it. The client's stream is told.
    fn accept(
        self,
        mut response: Response<Received>,
        connection: &Connection,
    ) -> (Response<Option<Received>>, Option<Tunnel>) {
        let status = response.status();
        let accepted =
            if self.connect { status.is_success() } else { status == StatusCode::SWITCHING_PROTOCOLS };
        if !accepted {
            return (response.map(Some), None);
        }
        connection.link().answer(Answer::Accepted);
        let on_upgrade = hyper::upgrade::on(&mut response);
        let (head, body) = response.into_parts();
        let server = body.into_tunnel().map_or(ServerSide::Connection(on_upgrade), ServerSide::Stream);
        (Response::from_parts(head, None), Some(Tunnel { client: self.client, server, task: self.task }))
    }
}

/// The response, and both sides of the upgrade that was asked for, if the application has accepted it.
pub(super) fn accepted(
    upgrade: Option<Upgrade>,
    response: Response<Received>,
    connection: &Connection,
) -> (Response<Option<Received>>, Option<Tunnel>) {
    match upgrade {
        Some(upgrade) => upgrade.accept(response, connection),
        None => (response.map(Some), None),
    }
}

impl Tunnel {
    /// Copies bytes until both directions have ended or one connection breaks.
    pub(super) async fn run(self) {
        let server = async {
            match self.server {
                ServerSide::Connection(upgrade) => upgrade.await.map(TunnelIo::of),
                ServerSide::Stream(stream) => Ok(TunnelIo::Http2(stream)),
            }
        };
        let (mut client, mut server) = match tokio::try_join!(self.client, server) {
            Ok((client, server)) => (TunnelIo::of(client), server),
            Err(error) => return debug!(%error, "an upgrade did not come about"),
        };
        let mut unfinished = Unfinished(Some(self.task));
        match net::copy(&mut client, &mut server, &Unobserved).await {
            Ok(()) => {
                unfinished.0 = None;
                client.end_orderly();
                server.end_orderly();
            }
            Err(broken) => debug!(%broken, "a tunnel ended early"),
        }
    }
}

/// A tunnel that is broken, or cut off, before both sides have ended: a client of HTTP/2 would take that for an end in order.
struct Unfinished(Option<TunnelTask>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.reset();
        }
    }
}

/// A stream after an upgrade.
enum TunnelIo {
    /// The whole connection.
    Connection(HttpIo),
    /// A stream of a client's HTTP/2.
    Stream(TokioIo<Upgraded>),
    /// A stream of HTTP/2 to the other side.
    Http2(Http2Tunnel),
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
            Self::Http2(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Stream(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Http2(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_flush(cx),
            Self::Stream(io) => Pin::new(io).poll_flush(cx),
            Self::Http2(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_shutdown(cx),
            Self::Stream(io) => Pin::new(io).poll_shutdown(cx),
            Self::Http2(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
