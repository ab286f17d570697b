//! What the stream under an HTTP/1 connection and the requests on it tell each other.
//!
//! hyper's server has no way to pass on informational responses (RFC 9110, section 15.2), so they are written to the
//! stream here, between two messages of hyper's.

use std::{
    fmt::Write as _,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::Waker,
};

use futures::task::AtomicWaker;
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;

/// Bytes of informational responses that wait, at most; an application has no use for more.
const MAX_INTERIM: usize = 64 * 1024;

/// The link between a client's stream and its requests.
#[derive(Default)]
pub(super) struct Link {
    /// Informational responses, to be written before the next message.
    interim: Mutex<Vec<u8>>,
    has_interim: AtomicBool,
    /// Trailers, to be written before the end of the body.
    trailers: Mutex<Vec<u8>>,
    has_trailers: AtomicBool,
    /// The task of the connection.
    waker: AtomicWaker,
    /// What came of a request for another protocol.
    answer: AtomicU8,
    /// Why a request was refused.
    refused: Mutex<Option<&'static str>>,
    /// What the client has flooded the connection with.
    flooded: OnceLock<&'static str>,
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

    /// Has trailers written at the end of the body that hyper is about to end. Empty: there are none.
    pub(super) fn set_trailers(&self, trailers: Vec<u8>) {
        self.has_trailers.store(!trailers.is_empty(), Ordering::Release);
        *self.trailers.lock() = trailers;
    }

    pub(super) fn has_trailers(&self) -> bool {
        self.has_trailers.load(Ordering::Acquire)
    }

    pub(super) fn take_trailers(&self) -> Option<Vec<u8>> {
        self.has_trailers.swap(false, Ordering::AcqRel).then(|| std::mem::take(&mut *self.trailers.lock()))
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

    /// The client sends frames without end that carry nothing.
    pub(super) fn flood(&self, what: &'static str) {
        let _ = self.flooded.set(what);
    }

    /// What the client has flooded the connection with, if it has.
    pub(super) fn flooded(&self) -> Option<&'static str> {
        self.flooded.get().copied()
    }

    /// Why a request was refused, if one was.
    pub(super) fn refused(&self) -> Option<&'static str> {
        *self.refused.lock()
    }
}
