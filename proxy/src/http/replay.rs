//! Sends a request again where that is safe.
//!
//! A request that may have been processed is never sent twice, unless its method is safe (RFC 9110, section 9.2.1) and
//! its connection had been idle: then the other side has most likely closed it while the request was on its way.

use http::Request;

use super::{body::RequestBody, client::SendError};

/// The head of a request without a body, in case that it must be sent again.
pub(super) struct Replay(Option<Request<()>>);

impl Replay {
    /// `reused`: the connection has carried requests before.
    pub(super) fn of(request: &Request<RequestBody>, reused: bool) -> Self {
        use hyper::body::Body as _;
        let is_wanted = (reused || request.version() == http::Version::HTTP_2)
            && request.body().is_end_stream()
            && !super::headers::is_upgrade(request);
        Self(is_wanted.then(|| head(request)))
    }

    /// The request to send again after an error.
    ///
    /// # Errors
    /// It must not be sent again.
    pub(super) fn after(self, error: SendError) -> Result<Request<RequestBody>, hyper::Error> {
        let refused = error.was_refused();
        let reused = error.reused;
        if let Some(unsent) = error.unsent {
            return Ok(unsent);
        }
        match self.0 {
            Some(head) if refused || (reused && head.method().is_safe() && is_closed(&error.error)) => {
                Ok(head.map(|()| RequestBody::empty()))
            }
            _ => Err(error.error),
        }
    }
}

/// Whether the connection ended without a byte of a response.
fn is_closed(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_reset(error)
}

fn is_reset(error: &hyper::Error) -> bool {
    use std::{error::Error as _, io};
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|io| {
        matches!(
            io.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
        )
    })
}

fn head<B>(request: &Request<B>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    *head.extensions_mut() = request.extensions().clone();
    head
}
