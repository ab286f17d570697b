//! How a connection or stream to the other side broke.

use std::{error::Error, io};

/// The connection or stream broke, or the other side broke the protocol.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    #[error("http2 error")]
    Http2(#[from] h2::Error),
}

impl Broken {
    /// Whether the other side has reset the stream.
    pub(super) fn is_reset_by_peer(&self) -> bool {
        self.http2().is_some_and(|reset| reset.is_reset() && reset.is_remote())
    }

    /// Whether the peer has broken the protocol, or exceeded a bound: what it sent cannot be understood, or is a flood.
    pub(super) fn is_protocol_error(&self) -> bool {
        match self {
            Self::Http1(error) => super::error::is_protocol_error(error),
            Self::Http2(error) => error.is_library(),
        }
    }

    /// Whether the other side has said that it did not process the request (RFC 9113, section 8.7).
    pub(super) fn is_refusal(&self) -> bool {
        self.http2().is_some_and(|error| {
            error.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
        })
    }

    /// Whether an HTTP/1 connection ended without a byte of a response.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(error) => {
                error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_reset(error)
            }
            Self::Http2(_) => false,
        }
    }

    fn http2(&self) -> Option<&h2::Error> {
        match self {
            Self::Http1(error) => cause(error),
            Self::Http2(error) => Some(error),
        }
    }
}

/// The HTTP/2 error among the causes of another one.
pub(super) fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a h2::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

fn is_reset(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|io| {
        matches!(
            io.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
        )
    })
}
