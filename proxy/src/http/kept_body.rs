//! The body of a request that may have to be sent again: what was read of it is kept, up to a limit.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;

/// A body that is longer is not sent again. There may be thousands of requests in flight.
const MAX_KEPT: usize = 16 * 1024;

/// One reading of a body. When another one begins, this one fails.
pub(super) struct KeptBody<B = Incoming> {
    shared: Arc<Mutex<Shared<B>>>,
    reading: u32,
    /// How much of what is kept has been read.
    position: usize,
}

/// Begins a new reading.
pub(super) struct Rereader<B = Incoming>(Arc<Mutex<Shared<B>>>);

struct Shared<B> {
    rest: B,
    /// What was read of it; `None` if that is not kept any more.
    kept: Option<BytesMut>,
    /// There will be no other reading: nothing more is kept.
    is_last: bool,
    /// The reading that counts.
    reading: u32,
    /// The task of that reading.
    waiting: Option<Waker>,
}

impl<B: Body<Data = Bytes> + Unpin> KeptBody<B> {
    pub(super) fn new(body: B) -> Self {
        let shared =
            Shared { rest: body, kept: Some(BytesMut::new()), is_last: false, reading: 0, waiting: None };
        Self { shared: Arc::new(Mutex::new(shared)), reading: 0, position: 0 }
    }

    /// While it exists, what is read is kept.
    pub(super) fn rereader(&self) -> Rereader<B> {
        Rereader(self.shared.clone())
    }
}

impl<B> Rereader<B> {
    /// The body from its beginning; `None` if that is not known any more.
    pub(super) fn begin(&self) -> Option<KeptBody<B>> {
        let mut shared = self.0.lock();
        if shared.is_last || shared.kept.is_none() {
            return None;
        }
        shared.reading += 1;
        let (reading, before) = (shared.reading, shared.waiting.take());
        drop(shared);
        // The earlier reading finds out that it does not count any more.
        before.into_iter().for_each(Waker::wake);
        Some(KeptBody { shared: self.0.clone(), reading, position: 0 })
    }

    /// The body will not be read again.
    pub(super) fn forget(&self) {
        // The reading that goes on may still need what is kept.
        self.0.lock().is_last = true;
    }
}

impl<B> Body for KeptBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let mut shared = this.shared.lock();
        if shared.reading != this.reading {
            return Poll::Ready(Some(Err("the request is sent to another endpoint".into())));
        }
        if let Some(kept) = shared.kept.as_ref().filter(|kept| this.position < kept.len()) {
            let again = Bytes::copy_from_slice(&kept[this.position..]);
            this.position = kept.len();
            return Poll::Ready(Some(Ok(Frame::data(again))));
        }
        if !shared.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(cx.waker())) {
            shared.waiting = Some(cx.waker().clone());
        }
        let frame = ready!(Pin::new(&mut shared.rest).poll_frame(cx));
        let is_kept = match &frame {
            Some(Ok(frame)) => shared.keep(frame),
            Some(Err(_)) => false,
            None => true,
        };
        if !is_kept {
            shared.kept = None;
        }
        this.position = shared.kept.as_ref().map_or(0, BytesMut::len);
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.lock();
        shared.unread(self) == 0 && shared.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let shared = self.shared.lock();
        let (unread, rest) = (shared.unread(self) as u64, shared.rest.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + unread);
        }
        hint.set_lower(rest.lower() + unread);
        hint
    }
}

impl<B> Shared<B> {
    /// False if it is too much, or something else than data.
    fn keep(&mut self, frame: &Frame<Bytes>) -> bool {
        match (frame.data_ref(), &mut self.kept) {
            // Copied: a few bytes may be a part of a large buffer.
            (Some(data), Some(kept)) if !self.is_last && kept.len() + data.len() <= MAX_KEPT => {
                kept.extend_from_slice(data);
                true
            }
            _ => false,
        }
    }

    fn unread(&self, reading: &KeptBody<B>) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.len().saturating_sub(reading.position))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    /// A body whose frames arrive when the test says so.
    #[derive(Default)]
    struct Arriving(Arc<Mutex<(VecDeque<Bytes>, bool)>>);

    impl Arriving {
        fn push(&self, data: Vec<u8>) {
            self.0.lock().0.push_back(data.into());
        }

        fn end(&self) {
            self.0.lock().1 = true;
        }
    }

    impl Body for Arriving {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let mut state = self.0.lock();
            match state.0.pop_front() {
                Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None if state.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn body() -> (Arriving, KeptBody<Arriving>) {
        let arriving = Arriving::default();
        let body = KeptBody::new(Arriving(arriving.0.clone()));
        (arriving, body)
    }

    fn next(body: &mut KeptBody<Arriving>) -> Option<Vec<u8>> {
        let frame = body.frame().now_or_never()??;
        Some(frame.expect("a frame").into_data().expect("data").to_vec())
    }

    #[test]
    fn a_new_reading_begins_again_and_goes_on_where_the_first_one_was() {
        let (arriving, mut first) = body();
        let rereader = first.rereader();
        arriving.push(b"one".to_vec());
        arriving.push(b"two".to_vec());
        assert_eq!((next(&mut first), next(&mut first)), (Some(b"one".to_vec()), Some(b"two".to_vec())));
        assert!(first.frame().now_or_never().is_none(), "the rest has not arrived");
        let mut second = rereader.begin().expect("it is kept");
        assert!(first.frame().now_or_never().expect("ready").expect("not the end").is_err());
        assert!(!second.is_end_stream());
        arriving.push(b"three".to_vec());
        assert_eq!(
            (next(&mut second), next(&mut second)),
            (Some(b"onetwo".to_vec()), Some(b"three".to_vec()))
        );
        arriving.end();
        assert!(second.frame().now_or_never().expect("ready").is_none());
        let mut third = rereader.begin().expect("it is kept");
        assert_eq!(next(&mut third), Some(b"onetwothree".to_vec()));
        assert!(third.frame().now_or_never().expect("ready").is_none());
    }

    #[test]
    fn a_long_body_is_read_once_and_not_kept() {
        let (arriving, mut first) = body();
        let rereader = first.rereader();
        arriving.push(vec![1; MAX_KEPT]);
        assert_eq!(next(&mut first).map(|data| data.len()), Some(MAX_KEPT));
        arriving.push(vec![2; 1]);
        assert_eq!(next(&mut first), Some(vec![2]));
        assert!(rereader.begin().is_none());
        arriving.push(vec![3; 1]);
        assert_eq!(next(&mut first), Some(vec![3]), "the only reading goes on");
    }

    #[test]
    fn after_an_answer_the_last_reading_goes_on_and_nothing_more_is_kept() {
        let (arriving, mut first) = body();
        let rereader = first.rereader();
        arriving.push(b"one".to_vec());
        next(&mut first);
        let mut second = rereader.begin().expect("it is kept");
        rereader.forget();
        assert!(rereader.begin().is_none());
        arriving.push(b"two".to_vec());
        assert_eq!((next(&mut second), next(&mut second)), (Some(b"one".to_vec()), Some(b"two".to_vec())));
        assert!(second.shared.lock().kept.is_none());
    }
}
