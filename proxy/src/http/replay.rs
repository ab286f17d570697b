//! Sends a request again where that is safe.
//!
//! A request that may have been processed is never sent twice, unless its method is safe (RFC 9110, section 9.2.1) and
//! its connection had been idle: then the other side has most likely closed it while the request was on its way.

use http::Request;

use super::{body::RequestBody, broken::Broken, client::SendError};

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
    pub(super) fn after(self, error: SendError) -> Result<Request<RequestBody>, Broken> {
        let refused = error.error.is_refusal();
        let reused = error.reused;
        if let Some(unsent) = error.unsent {
            return Ok(unsent);
        }
        match self.0 {
            Some(head) if refused || (reused && head.method().is_safe() && error.error.is_closed()) => {
                Ok(head.map(|()| RequestBody::empty()))
            }
            _ => Err(error.error),
        }
    }
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
