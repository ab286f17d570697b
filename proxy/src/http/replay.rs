//! Sends a request again where that is safe, a few times.
//!
//! A request that may have been processed is never sent twice, with one exception: its method is safe (RFC 9110, section
//! 9.2.1), and the other side has most likely closed the connection while it was idle. It is then sent once more.

use std::time::Duration;

use http::Request;

use super::{body::RequestBody, error::ProxyError, kept_body::Rereader, origin::SendError};
use crate::net::Backoff;

/// What is needed to send a request again.
pub(super) struct Replay {
    /// `None`: it is not sent again.
    head: Option<Request<()>>,
    /// `None`: it has no body.
    body: Option<Rereader>,
}

/// How often one request may still be sent again.
pub(super) struct Resends {
    /// In all.
    total: u32,
    /// To endpoints that have failed it before.
    left: u32,
    /// It was sent again although it may have been received.
    raced: bool,
    backoff: Backoff,
}

/// A server that refuses a request now may take it a moment later.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

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

    /// Whether it may be sent again although it may have arrived (RFC 9110, section 9.2.2).
    fn is_safe(&self) -> bool {
        self.body.is_none() && self.head.as_ref().is_some_and(|head| head.method().is_safe())
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

impl Resends {
    /// A request at its source: other endpoints may take it, each of which may be about to stop.
    pub(super) fn at_source() -> Self {
        Self::new(5, 2)
    }

    /// A request at its destination: there is one application.
    pub(super) fn at_destination() -> Self {
        Self::new(1, 1)
    }

    fn new(total: u32, left: u32) -> Self {
        Self { total, left, raced: false, backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE) }
    }

    /// The request to send again after an error. Pauses if it was refused.
    ///
    /// # Errors
    /// It must not be sent again, or was often enough. `others`: there are endpoints that have not been tried.
    pub(super) async fn after(
        &mut self,
        replay: Replay,
        error: SendError,
        others: bool,
    ) -> Result<Request<RequestBody>, ProxyError> {
        let pauses = error.is_to_pause() && !others;
        let again = self.take(replay, error, others)?;
        if pauses {
            tokio::time::sleep(self.backoff.next_pause()).await;
        }
        Ok(again)
    }

    /// The same after the proxy of the destination has said that the application does not listen. `None`: its answer is
    /// passed on.
    pub(super) async fn after_unsent(
        &mut self,
        replay: Replay,
        others: bool,
    ) -> Option<Request<RequestBody>> {
        let again = replay.again()?;
        if !self.count(others) {
            return None;
        }
        if !others {
            tokio::time::sleep(self.backoff.next_pause()).await;
        }
        Some(again)
    }

    fn take(
        &mut self,
        replay: Replay,
        error: SendError,
        others: bool,
    ) -> Result<Request<RequestBody>, ProxyError> {
        let refused = error.error.is_refusal();
        let not_processed = error.is_unprocessed();
        let SendError { error, unsent, idle_closed, .. } = error;
        let again = match unsent {
            Some(unsent) => Some(unsent),
            None if refused || (idle_closed && !self.raced && replay.is_safe()) => replay.again(),
            None => None,
        };
        match again {
            Some(again) if self.count(others) => {
                self.raced |= !not_processed;
                Ok(again)
            }
            // An attempt before this one may have been processed.
            _ if not_processed && !self.raced => Err(ProxyError::Refused(error)),
            _ => Err(ProxyError::Stream(error)),
        }
    }

    /// Counts one more attempt; false if there were enough.
    fn count(&mut self, others: bool) -> bool {
        if self.total == 0 || (self.left == 0 && !others) {
            return false;
        }
        self.total -= 1;
        self.left -= u32::from(!others);
        true
    }

    /// Whether there may be one more attempt.
    pub(super) fn may_go_on(&self) -> bool {
        self.total > 0
    }

    /// Whether the next attempt must not use an idle connection: those of before were closed.
    pub(super) fn wants_new_connection(&self) -> bool {
        self.left == 0 || self.total == 0
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
        resends.take(Replay::of(&mut request(method), true, false), error, false).is_ok()
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
            let replay = Replay::of(&mut request(Method::POST), true, false);
            assert!(matches!(resends.take(replay, unsent(), false), Err(ProxyError::Refused(_))));
        }
    }

    #[test]
    fn a_request_goes_to_five_other_endpoints_at_most() {
        let mut resends = Resends::at_source();
        assert_eq!((0..9).filter(|_| resends.count(true)).count(), 5);
        assert!(!resends.may_go_on() && !resends.count(false));
    }
}
