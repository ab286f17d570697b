//! Sends a request again where that is safe.
//!
//! A request that may have been processed is never sent twice, unless its method is safe (RFC 9110, section 9.2.1) and
//! its connection had been idle: then the other side has most likely closed it while the request was on its way.

use http::Request;

use super::{body::RequestBody, broken::Broken, client::SendError, kept_body::Rereader};

/// What is needed to send a request again.
pub(super) struct Replay {
    /// `None`: it is not sent again.
    head: Option<Request<()>>,
    /// `None`: it has no body.
    body: Option<Rereader>,
}

impl Replay {
    /// `reused`: the connection has carried requests before. `to_weft`: it leads to another weft proxy, which may say
    /// that the request has not reached the application; only for that are bodies kept.
    pub(super) fn of(request: &mut Request<RequestBody>, reused: bool, to_weft: bool) -> Self {
        use hyper::body::Body as _;
        let has_body = !request.body().is_end_stream();
        let is_wanted = to_weft || (!has_body && (reused || request.version() == http::Version::HTTP_2));
        if !is_wanted || super::headers::is_upgrade(request) {
            return Self { head: None, body: None };
        }
        let body = if has_body { request.body_mut().keep() } else { None };
        Self { head: Some(head(request)), body }
    }

    /// The request to send again after an error.
    ///
    /// # Errors
    /// It must not be sent again.
    pub(super) fn after(self, error: SendError) -> Result<Request<RequestBody>, Broken> {
        let may_repeat = self.body.is_none()
            && error.reused
            && self.head.as_ref().is_some_and(|head| head.method().is_safe())
            && error.error.is_closed();
        if !error.was_refused() && !may_repeat {
            return error.unsent.ok_or(error.error);
        }
        match error.unsent {
            Some(unsent) => Ok(unsent),
            None => self.again().ok_or(error.error),
        }
    }

    /// The request to send again, after the other side has said that it was not processed.
    pub(super) fn again(self) -> Option<Request<RequestBody>> {
        let body = match &self.body {
            Some(body) => RequestBody::again(body.begin()?),
            None => RequestBody::empty(),
        };
        Some(self.head?.map(|()| body))
    }

    /// The request was answered.
    pub(super) fn answered(self) {
        if let Some(body) = self.body {
            body.forget();
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
