//! The body of a response as it comes from the other side.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{FlowControl, SendStream};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{
    broken::Broken,
    http2::{Http2Body, Http2Tunnel},
};

/// A body that is still arriving.
pub(super) enum Received {
    Http1(Incoming),
    Http2 {
        body: Http2Body,
        /// The other direction, after CONNECT.
        tunnel: Option<SendStream<Bytes>>,
    },
}

impl Received {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::Http1(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Broken::from)))
            }
            Self::Http2 { body, .. } => body.poll_frame(cx),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2 { body, .. } => body.is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2 { body, .. } => body.size_hint(),
        }
    }

    /// What has arrived of it over HTTP/2, and how much of that waits.
    pub(super) fn window(&mut self) -> Option<FlowControl> {
        match self {
            Self::Http1(_) => None,
            Self::Http2 { body, .. } => Some(body.window()),
        }
    }

    /// The stream of an accepted CONNECT over HTTP/2.
    pub(super) fn into_tunnel(self) -> Option<Http2Tunnel> {
        match self {
            Self::Http2 { body, tunnel: Some(send) } => Some(Http2Tunnel::new(send, body.into_stream())),
            _ => None,
        }
    }
}
