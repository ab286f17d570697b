//! What the stream under an HTTP/1 connection and the requests on it tell each other.
//!
//! hyper's server has no way to pass on informational responses (RFC 9110, section 15.2), so they are written to the
//! stream here, between two messages of hyper's.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    task::Waker,
};

use futures::task::AtomicWaker;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{error::ProxyError, guard::MASKED_EXPECT};

/// Bytes of informational responses that wait, at most; an application has no use for more.
const MAX_INTERIM: usize = 64 * 1024;
/// Informational responses to one request; with one more, the request fails.
const MAX_INTERIMS: usize = 100;

/// The link between a client's stream and its requests.
#[derive(Default)]
pub(super) struct Link {
    /// Informational responses, to be written before the next message.
    interim: Mutex<Vec<u8>>,
    has_interim: AtomicBool,
    /// The task of the connection.
    waker: AtomicWaker,
    /// What came of a request for another protocol.
    answer: AtomicU8,
    /// Why a request was refused.
    refused: Mutex<Option<&'static str>>,
}

/// What came of a request for another protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// The connection carries the other protocol from now on.
    Accepted = 1,
    /// It stays HTTP.
    Declined = 2,
}

impl Link {
    /// Remembers the connection's task, for when something is to be written.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes what is to be written before the next message.
    pub(super) fn take_interim(&self) -> Option<Vec<u8>> {
        if !self.has_interim.load(Ordering::Acquire) {
            return None;
        }
        let mut interim = self.interim.lock();
        self.has_interim.store(false, Ordering::Release);
        Some(std::mem::take(&mut *interim))
    }

    /// Passes an informational response on to the client.
    pub(super) fn send_interim(&self, status: StatusCode, headers: &HeaderMap) {
        let mut text =
            format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or(""));
        let mut bytes = {
            for name in headers.keys().filter(|name| **name != header::CONNECTION) {
                for value in headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
                    let _ = write!(text, "{name}: {value}\r\n");
                }
            }
            text.push_str("\r\n");
            text.into_bytes()
        };
        let mut interim = self.interim.lock();
        if interim.len() + bytes.len() <= MAX_INTERIM {
            interim.append(&mut bytes);
            self.has_interim.store(true, Ordering::Release);
            drop(interim);
            self.waker.wake();
        }
    }

    pub(super) fn answer(&self, answer: Answer) {
        self.answer.store(answer as u8, Ordering::Release);
    }

    pub(super) fn take_answer(&self) -> Option<Answer> {
        if self.answer.load(Ordering::Relaxed) == 0 {
            return None;
        }
        match self.answer.swap(0, Ordering::Acquire) {
            1 => Some(Answer::Accepted),
            2 => Some(Answer::Declined),
            _ => None,
        }
    }

    pub(super) fn refuse(&self, why: &'static str) {
        self.refused.lock().get_or_insert(why);
    }

    /// Why a request was refused, if one was.
    pub(super) fn refused(&self) -> Option<&'static str> {
        *self.refused.lock()
    }
}

/// Shows a request's expectation again, and passes informational responses to it on to the client.
pub(super) fn connect<B>(
    request: &mut Request<B>,
    connection: &std::sync::Arc<super::server::Connection>,
) -> Interims {
    let version = request.version();
    if version == Version::HTTP_2 {
        return Interims(None);
    }
    if version == Version::HTTP_11
        && let Some(expect) = request.headers_mut().get_mut(header::EXPECT)
        && expect.as_bytes() == MASKED_EXPECT
    {
        *expect = HeaderValue::from_static("100-continue");
    }
    let connection = connection.clone();
    let (so_far, flood) = (AtomicUsize::new(0), CancellationToken::new());
    let interims = Interims(Some(flood.clone()));
    hyper::ext::on_informational(request, move |response| {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        if so_far.fetch_add(1, Ordering::Relaxed) >= MAX_INTERIMS {
            flood.cancel();
        } else if version == Version::HTTP_11 {
            connection.link().send_interim(response.status(), response.headers());
        }
    });
    interims
}

/// Watches the informational responses to one request.
pub(super) struct Interims(Option<CancellationToken>);

impl Interims {
    /// Waits for the response, unless informational ones come without end.
    ///
    /// # Errors
    /// That of `response`, or there are too many.
    pub(super) async fn until<T>(
        self,
        response: impl Future<Output = Result<T, ProxyError>>,
    ) -> Result<T, ProxyError> {
        let Some(flood) = self.0 else { return response.await };
        tokio::select! {
            biased;
            response = response => response,
            () = flood.cancelled() => Err(ProxyError::BadResponse("too many informational responses")),
        }
    }
}
