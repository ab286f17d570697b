//! The bodies of requests and responses: passed on frame by frame, and recorded when they end.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{
    connection::Connection,
    kept_body::{KeptBody, Rereader},
    received::Received,
    record::{Outcome, Record, RequestTimer},
    served_stream::{RequestReader, ServedStream},
    slow_reader::Unread,
    trailers,
};
use crate::{
    balance::Picked,
    limits::RequestPermit,
    metrics::{StreamFailure, reset_code},
};

/// The body of a request on its way to the application.
pub(super) struct RequestBody {
    inner: Content,
    /// At the source, and at the destination if that is on this node.
    timers: [Option<RequestTimer>; 2],
    reader: RequestReader,
}

enum Content {
    None,
    Once(Incoming),
    Kept(KeptBody),
}

/// The body of a response on its way to the client.
pub(super) struct ResponseBody {
    inner: Option<Received>,
    state: Option<Box<State>>,
    /// Where trailers are written that hyper would drop.
    trailers_to: Option<Arc<Connection>>,
}

/// What ends with a response.
#[derive(Default)]
struct State {
    records: Vec<Record>,
    hold: Hold,
    unread: Unread,
    /// The client's stream, if it is one of HTTP/2.
    stream: Option<Arc<ServedStream>>,
}

/// A connection that can be used again when its response is complete. Dropped, it is not.
pub(super) trait Release: Send + Sync {
    fn release(self: Box<Self>);

    /// What remains while a tunnel uses the connection; `None`: the tunnel has it alone.
    fn for_tunnel(self: Box<Self>) -> Option<Box<dyn Release>>;
}

/// What a response keeps until it ends, or a tunnel until it is closed.
#[derive(Default)]
pub(super) struct Hold {
    /// Counts as load of its endpoint.
    pub(super) picked: Option<Picked>,
    /// Counts as a request in flight: of the client's workload, and of the application's.
    pub(super) permits: Vec<RequestPermit>,
    /// The connection, which can be used again when the response is complete.
    pub(super) connection: Option<Box<dyn Release>>,
    /// The client's connection, to which it is told if the response stays unread.
    pub(super) client: Option<Arc<Connection>>,
}

impl State {
    /// The client has taken the last part.
    fn is_asked_for_more(&mut self) {
        if let Some(client) = &self.hold.client {
            self.unread.end(client);
        }
        if let Some(stream) = &self.stream {
            stream.response_is_wanted();
        }
    }

    /// The client is given a part.
    fn gives(&mut self, bytes: usize, is_last: bool) {
        if !is_last {
            self.unread.begin();
        }
        if let Some(stream) = &self.stream {
            stream.response_part(bytes);
        }
    }
}

impl RequestBody {
    pub(super) fn empty() -> Self {
        Self::of(Content::None)
    }

    pub(super) fn incoming(inner: Incoming) -> Self {
        Self::of(Content::Once(inner))
    }

    /// Read once more.
    pub(super) fn again(body: KeptBody) -> Self {
        Self::of(Content::Kept(body))
    }

    fn of(inner: Content) -> Self {
        let reader = RequestReader::current(inner.is_end());
        Self { inner, timers: [None, None], reader }
    }

    /// Keeps what is read of it from now on, so that it can be read again; `None` if there is nothing to read.
    pub(super) fn keep(&mut self) -> Option<Rereader> {
        let kept = match std::mem::replace(&mut self.inner, Content::None) {
            Content::None => return None,
            Content::Once(body) => KeptBody::new(body),
            Content::Kept(body) => body,
        };
        let rereader = kept.rereader();
        self.inner = Content::Kept(kept);
        Some(rereader)
    }

    /// A request that is sent again is timed anew.
    pub(super) fn forget_timers(&mut self) {
        self.timers = [None, None];
    }

    /// Records when the body ends.
    pub(super) fn time(&mut self, timer: RequestTimer) {
        if self.is_end_stream() {
            timer.ended();
        } else if let Some(free) = self.timers.iter_mut().find(|timer| timer.is_none()) {
            *free = Some(timer);
        }
    }
}

impl Content {
    fn is_end(&self) -> bool {
        match self {
            Self::None => true,
            Self::Once(body) => body.is_end_stream(),
            Self::Kept(body) => body.is_end_stream(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.reader.wants();
        let frame = match &mut self.inner {
            Content::None => return Poll::Ready(None),
            Content::Once(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Content::Kept(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.timers.iter().flatten().for_each(|timer| timer.frame(data.len()));
            self.reader.part(data.len());
        }
        if frame.is_none() || self.is_end_stream() {
            self.reader.is_done();
            self.timers.iter_mut().filter_map(Option::take).for_each(RequestTimer::ended);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Content::None => SizeHint::with_exact(0),
            Content::Once(body) => body.size_hint(),
            Content::Kept(body) => body.size_hint(),
        }
    }
}

impl ResponseBody {
    pub(super) fn empty() -> Self {
        Self { inner: None, state: None, trailers_to: None }
    }

    pub(super) fn of(inner: Option<Received>) -> Self {
        Self { inner, state: None, trailers_to: None }
    }

    /// Trailers are written to the client's stream instead of being shown to hyper.
    pub(super) fn write_trailers_to(&mut self, connection: &Arc<Connection>) {
        self.trailers_to = Some(connection.clone());
    }

    fn end(&mut self, outcome: Outcome<'_>) {
        let Some(state) = self.state.take() else { return };
        let State { records, hold, mut unread, stream } = *state;
        if let Some(stream) = stream {
            stream.response_ended();
        }
        if let Some(client) = &hold.client {
            unread.end(client);
        }
        records.into_iter().for_each(|record| record.end(outcome));
        if let Some(connection) = hold.connection {
            match outcome {
                Outcome::Complete(_) => connection.release(),
                Outcome::Broken(..) => drop(connection),
            }
        }
    }
}

/// Records the response when its body ends, and keeps `hold` until then.
pub(super) fn watch(response: &mut Response<ResponseBody>, record: Option<Record>, hold: Hold) {
    let ended = response.body().is_end_stream();
    let ResponseBody { inner, state, .. } = response.body_mut();
    let state = state.get_or_insert_default();
    state.records.extend(record);
    state.hold.picked = hold.picked.or(state.hold.picked.take());
    state.hold.connection = hold.connection.or(state.hold.connection.take());
    state.hold.permits.extend(hold.permits);
    state.hold.client = hold.client.or(state.hold.client.take());
    if !ended {
        // HTTP/2 asks for a body only when the client has opened a window.
        state.unread.begin();
        if state.stream.is_none()
            && let Some(stream) = ServedStream::current()
        {
            if let Some(window) = inner.as_mut().and_then(Received::window) {
                stream.response_arrives(window);
            }
            state.stream = Some(stream);
        }
    } else {
        // A gRPC response without messages has its status among the headers.
        let headers = std::mem::take(response.headers_mut());
        response.body_mut().end(Outcome::Complete(Some(&headers)));
        *response.headers_mut() = headers;
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(state) = &mut this.state {
            state.is_asked_for_more();
        }
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let frame = ready!(inner.poll_frame(cx));
        let at_end = inner.is_end_stream();
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(state)) = (frame.data_ref(), &mut this.state) {
                    state.records.iter_mut().for_each(|record| record.frame(data.len()));
                    state.gives(data.len(), at_end);
                }
                let trailers: Option<&HeaderMap> = frame.trailers_ref();
                if trailers.is_some() || at_end {
                    this.end(Outcome::Complete(trailers));
                }
            }
            Some(Err(error)) => {
                this.end(Outcome::Broken(error.failure(), reset_code(error)));
            }
            None => this.end(Outcome::Complete(None)),
        }
        if let (Some(Ok(frame)), Some(client)) = (&frame, &this.trailers_to)
            && let Some(trailers) = frame.trailers_ref()
        {
            client.link().set_trailers(trailers::encode(trailers));
            return Poll::Ready(None);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Received::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Received::size_hint)
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // Nobody reads the rest: the client has gone away or does not want it.
        self.end(Outcome::Broken(StreamFailure::Canceled, Some(h2::Reason::CANCEL.into())));
    }
}
