//! How a connection or stream to the other side broke.

use std::{error::Error, io};

use crate::metrics::StreamFailure;

/// The connection or stream broke, or the other side broke the protocol.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    #[error("http2 error")]
    Http2(#[from] h2::Error),
    /// The other side's response can be understood in two ways.
    #[error("{0}")]
    Malformed(&'static str),
}

impl Broken {
    /// For the metrics of responses.
    pub(super) fn failure(&self) -> StreamFailure {
        if self.is_by_client() { StreamFailure::Canceled } else { StreamFailure::of(self) }
    }

    /// Whether the other side has reset the stream.
    pub(super) fn is_reset_by_peer(&self) -> bool {
        matches!(self, Self::Http2(reset) if reset.is_reset() && reset.is_remote())
    }

    /// Whether the peer has broken the protocol, or exceeded a bound: what it sent cannot be understood, or is a flood.
    pub(super) fn is_protocol_error(&self) -> bool {
        match self {
            Self::Http1(error) => is_protocol_error(error),
            Self::Http2(error) => error.is_library(),
            Self::Malformed(_) => true,
        }
    }

    /// Whether the other side has said that it did not process the request (RFC 9113, section 8.7). h2 reports a GOAWAY
    /// only for the streams above its last one; those below it end otherwise.
    pub(super) fn is_refusal(&self) -> bool {
        let Self::Http2(error) = self else { return false };
        let reset = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (reset || error.is_go_away())
    }

    /// Whether the other side ends the connection in order, and has not processed the request.
    pub(super) fn is_graceful(&self) -> bool {
        let Self::Http2(error) = self else { return false };
        error.is_remote() && error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
    }

    /// Whether the client, and not the other side, has broken the request off.
    pub(super) fn is_by_client(&self) -> bool {
        match self {
            // What the body of the request reports.
            Self::Http1(error) => error.is_user(),
            Self::Http2(error) => error.is_reset() && !error.is_remote() && !error.is_library(),
            Self::Malformed(_) => false,
        }
    }

    /// Whether the other side or the way to it has broken the request off.
    pub(super) fn is_by_peer(&self) -> bool {
        match self {
            Self::Http1(error) => !error.is_user(),
            Self::Http2(error) => error.is_remote() || error.is_library() || error.is_io(),
            Self::Malformed(_) => true,
        }
    }

    /// Whether a connection of HTTP/2 takes no more requests after this.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self, Self::Http2(error) if error.is_io() || error.is_go_away())
    }

    /// Whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(error) => {
                error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_reset(error)
            }
            Self::Http2(error) => error.is_io(),
            Self::Malformed(_) => false,
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

/// The same of an error of hyper's: whether the peer has broken the protocol, or exceeded a bound: what it sent cannot be understood, or is a flood.
pub(super) fn is_protocol_error(error: &hyper::Error) -> bool {
    let http2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_parse() || http2.is_some_and(h2::Error::is_library)
}
