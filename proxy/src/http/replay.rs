//! Sends a request again where that is safe, a few times.
//!
//! A request that may have been processed is never sent twice, with one exception: its method is safe (RFC 9110, section
//! 9.2.1), and the other side has most likely closed the connection while it was idle. It is then sent once more.

use std::time::Duration;

use http::Request;

use super::{body::RequestBody, client::SendError, error::ProxyError};
use crate::net::Backoff;

/// The head of a request without a body, in case that it must be sent again.
pub(super) struct Replay(Option<Request<()>>);

/// How often one request may still be sent again.
pub(super) struct Resends {
    left: u32,
    /// It was sent again although it may have been received.
    raced: bool,
    backoff: Backoff,
}

/// A server that refuses a request now may take it a moment later.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Replay {
    /// `reused`: the connection has carried requests before.
    pub(super) fn of(request: &Request<RequestBody>, reused: bool) -> Self {
        use hyper::body::Body as _;
        let is_wanted = (reused || request.version() == http::Version::HTTP_2)
            && request.body().is_end_stream()
            && !super::headers::is_upgrade(request);
        Self(is_wanted.then(|| head(request)))
    }
}

impl Resends {
    /// A request at its source: other endpoints may take it.
    pub(super) fn at_source() -> Self {
        Self::new(2)
    }

    /// A request at its destination: there is one application.
    pub(super) fn at_destination() -> Self {
        Self::new(1)
    }

    fn new(left: u32) -> Self {
        Self { left, raced: false, backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE) }
    }

    /// The request to send again after an error. Pauses if it was refused.
    ///
    /// # Errors
    /// It must not be sent again, or was often enough.
    pub(super) async fn after(
        &mut self,
        replay: Replay,
        error: SendError,
    ) -> Result<Request<RequestBody>, ProxyError> {
        let pauses = error.is_to_pause();
        let again = self.take(replay, error)?;
        if pauses {
            tokio::time::sleep(self.backoff.next_pause()).await;
        }
        Ok(again)
    }

    fn take(&mut self, replay: Replay, error: SendError) -> Result<Request<RequestBody>, ProxyError> {
        let SendError { error, unsent, idle_closed, .. } = error;
        let refused = error.is_refusal();
        let not_processed = refused || unsent.is_some();
        let again = match (unsent, replay.0) {
            (Some(unsent), _) => Some(unsent),
            (None, Some(head)) if refused || (idle_closed && !self.raced && head.method().is_safe()) => {
                Some(head.map(|()| RequestBody::empty()))
            }
            _ => None,
        };
        match again {
            Some(again) if self.left > 0 => {
                self.left -= 1;
                self.raced |= !not_processed;
                Ok(again)
            }
            _ if not_processed => Err(ProxyError::Refused(error)),
            _ => Err(ProxyError::Stream(error)),
        }
    }

    /// Whether the next attempt must not use an idle connection: those of before were closed.
    pub(super) fn wants_new_connection(&self) -> bool {
        self.left == 0
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

#[cfg(test)]
mod tests {
    use h2::Reason;
    use http::{Method, Version};

    use super::{super::broken::Broken, *};

    fn request(method: Method) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::empty());
        *request.method_mut() = method;
        *request.version_mut() = Version::HTTP_2;
        request
    }

    /// The connection broke after the request was sent.
    fn broke(idle_closed: bool) -> SendError {
        let error = Broken::Http2(Reason::INTERNAL_ERROR.into());
        SendError { error, unsent: None, reused: true, idle_closed }
    }

    fn after(resends: &mut Resends, method: Method, error: SendError) -> bool {
        resends.take(Replay::of(&request(method), true), error).is_ok()
    }

    #[test]
    fn a_safe_request_on_an_idle_connection_is_sent_again_once() {
        let mut resends = Resends::at_source();
        assert!(after(&mut resends, Method::GET, broke(true)));
        assert!(!after(&mut resends, Method::GET, broke(true)));
    }

    #[test]
    fn a_request_that_may_be_in_process_is_not_sent_again() {
        assert!(!after(&mut Resends::at_source(), Method::GET, broke(false)));
        assert!(!after(&mut Resends::at_source(), Method::POST, broke(true)));
    }

    #[test]
    fn an_unsent_request_is_sent_again_until_the_attempts_are_used_up() {
        for (mut resends, count) in [(Resends::at_source(), 2), (Resends::at_destination(), 1)] {
            let unsent = || SendError { unsent: Some(request(Method::POST)), ..broke(false) };
            for _ in 0..count {
                assert!(!resends.wants_new_connection());
                assert!(after(&mut resends, Method::POST, unsent()));
            }
            assert!(resends.wants_new_connection());
            let replay = Replay::of(&request(Method::POST), true);
            assert!(matches!(resends.take(replay, unsent()), Err(ProxyError::Refused(_))));
        }
    }
}
