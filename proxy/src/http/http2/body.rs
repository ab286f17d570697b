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
                Some(Err(error)) => return Poll::Ready(self.failed(error)),
                None => self.data_done = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => {
                self.upload.take().into_iter().for_each(Detached::release);
                trailers.map(|trailers| Ok(Frame::trailers(trailers)))
            }
            Err(error) => self.failed(error),
        })
    }

    fn failed<T>(&self, error: h2::Error) -> Option<Result<T, Broken>> {
        // A server that does not want the rest of a request resets the stream so after its answer (RFC 9113, section
        // 8.1). An answer of which something is missing is none.
        let is_end = error.reason() == Some(Reason::NO_ERROR) && self.left.is_none_or(|left| left == 0);
        (!is_end).then(|| Err(error.into()))
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use http::{Request, Response};

    use super::*;

    /// What is read of a response with five bytes, after which the server resets the stream with NO_ERROR.
    async fn read(length: Option<u64>) -> (Vec<u8>, bool) {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(far).await.unwrap();
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            let mut response = Response::new(());
            if let Some(length) = length {
                response.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from_static(b"bytes"), false).unwrap();
            // A reset takes back what has not been written.
            let _ = tokio::time::timeout(Duration::from_millis(50), connection.accept()).await;
            stream.send_reset(Reason::NO_ERROR);
            let _ = connection.accept().await;
        });
        let (mut sender, connection) = h2::client::handshake(near).await.unwrap();
        tokio::spawn(connection);
        let (response, _upload) = sender.send_request(Request::new(()), false).unwrap();
        let (head, stream) = response.await.unwrap().into_parts();
        let mut body = Http2Body::new(stream, &head.headers, None);
        let mut all = Vec::new();
        loop {
            match poll_fn(|cx| body.poll_frame(cx)).await {
                Some(Ok(frame)) => all.extend_from_slice(&frame.into_data().unwrap()),
                Some(Err(_)) => return (all, false),
                None => return (all, true),
            }
        }
    }

    #[tokio::test]
    async fn a_response_that_is_complete_ends_in_order_and_one_that_is_cut_does_not() {
        assert_eq!(read(Some(5)).await, (b"bytes".to_vec(), true));
        assert!(!read(Some(6)).await.1, "a byte is missing");
        assert!(read(None).await.1, "nobody can tell");
    }
}
