//! The body of a response that came over HTTP/2.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{FlowControl, Reason, RecvStream};
use http::{HeaderMap, header::CONTENT_LENGTH};
use hyper::body::{Frame, SizeHint};

use super::{super::broken::Broken, detached::Detached};

/// A body that is still arriving.
pub(in crate::http) struct Http2Body {
    stream: RecvStream,
    /// Bytes that are left, if the head says how many there are.
    left: Option<u64>,
    data_done: bool,
    /// The rest of the request. It ends with a response that is dropped before its end.
    upload: Option<Detached>,
}

impl Http2Body {
    pub(super) fn new(stream: RecvStream, headers: &HeaderMap, upload: Option<Detached>) -> Self {
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let left = length.or_else(|| stream.is_end_stream().then_some(0));
        let mut body = Self { stream, left, data_done: false, upload };
        body.release_upload();
        body
    }

    /// A complete response does not end the request.
    fn release_upload(&mut self) {
        if self.stream.is_end_stream() || self.left == Some(0) {
            self.upload.take().into_iter().for_each(Detached::release);
        }
    }

    pub(in crate::http) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.data_done {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    // What was passed on may be sent again. It fails if the stream has ended.
                    let _ = self.stream.flow_control().release_capacity(bytes.len());
                    self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                    self.release_upload();
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(failed(error)),
                None => self.data_done = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => {
                self.upload.take().into_iter().for_each(Detached::release);
                trailers.map(|trailers| Ok(Frame::trailers(trailers)))
            }
            Err(error) => failed(error),
        })
    }

    pub(in crate::http) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(in crate::http) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// What has arrived, and how much of that waits.
    pub(in crate::http) fn window(&mut self) -> FlowControl {
        self.stream.flow_control().clone()
    }

    pub(in crate::http) fn into_stream(self) -> RecvStream {
        self.stream
    }
}

fn failed<T>(error: h2::Error) -> Option<Result<T, Broken>> {
    // A server that does not want the rest of a request resets the stream so after its answer (RFC 9113, section 8.1).
    (error.reason() != Some(Reason::NO_ERROR)).then(|| Err(error.into()))
}
