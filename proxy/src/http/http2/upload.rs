//! Sends the body of a request on a stream of HTTP/2.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use hyper::body::Body;
use tracing::debug;

use super::super::{body::RequestBody, broken};

/// A body that is on its way. It ends when all is sent or the stream is reset.
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: RequestBody,
    /// A part that waits until the other side takes more, and whether it is the last one.
    waiting: Option<(Bytes, bool)>,
}

/// Why a body was not sent to its end.
pub(super) enum Stopped {
    /// The other side does not want the rest.
    Unwanted,
    /// The client has broken it off.
    BrokenOff,
}

impl Upload {
    pub(super) fn new(stream: SendStream<Bytes>, body: RequestBody) -> Self {
        Self { stream, body, waiting: None }
    }

    /// Sends what can be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            // Wakes this task also when the stream is reset.
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Stopped::Unwanted));
            }
            if let Some((data, last)) = self.waiting.take() {
                while self.stream.capacity() == 0 {
                    match self.stream.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(_))) => {}
                        Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Stopped::Unwanted)),
                        Poll::Pending => {
                            self.waiting = Some((data, last));
                            return Poll::Pending;
                        }
                    }
                }
                self.send(data, last)?;
                if last {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let last = self.body.is_end_stream();
                        if data.is_empty() {
                            self.send(data, last)?;
                            if last {
                                return Poll::Ready(Ok(()));
                            }
                        } else {
                            // Not more: capacity that is asked for without data would be missing elsewhere.
                            self.stream.reserve_capacity(1);
                            self.waiting = Some((data, last));
                        }
                    }
                    Err(frame) => {
                        let Ok(trailers) = frame.into_trailers() else { continue };
                        self.stream.reserve_capacity(0);
                        return Poll::Ready(
                            self.stream.send_trailers(trailers).map_err(|_| Stopped::Unwanted),
                        );
                    }
                },
                Some(Err(error)) => {
                    debug!(%error, "the client broke a request's body off");
                    let reason = broken::cause(&*error).and_then(h2::Error::reason);
                    self.stream.send_reset(reason.unwrap_or(Reason::INTERNAL_ERROR));
                    return Poll::Ready(Err(Stopped::BrokenOff));
                }
                None => return Poll::Ready(self.send(Bytes::new(), true)),
            }
        }
    }

    fn send(&mut self, data: Bytes, last: bool) -> Result<(), Stopped> {
        self.stream.send_data(data, last).map_err(|_| Stopped::Unwanted)
    }
}

impl Future for Upload {
    type Output = Result<(), Stopped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_send(cx)
    }
}
