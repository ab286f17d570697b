//! Connections of HTTP/2 to applications and endpoints: they carry many requests at once.
//!
//! Requests are sent by the tasks that serve them, and answers arrive there: hyper's client would pass each through two
//! more tasks.

mod body;
mod detached;
mod keep_alive;
mod tunnel;
mod upload;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{Builder, Connection, SendRequest},
};
use http::{HeaderValue, Method, Request, Response, Version, header::CONTENT_LENGTH};
use hyper::body::Body;
use tokio::time::sleep;

pub(super) use self::{body::Http2Body, tunnel::Http2Tunnel};
use self::{
    detached::Detached,
    keep_alive::KeepAlive,
    upload::{Stopped, Upload},
};
use super::{
    activity::Activity,
    body::RequestBody,
    broken::Broken,
    coalesced::{Coalesced, Outgoing},
    headers,
    io::HttpIo,
    origin::{Origin, SendError},
    settings::{BUDGET_READ_HTTP2, Http2Settings, MAX_HEADER_LIST},
};

/// The streams that may be opened before the other side has said how many.
const INITIAL_STREAMS: usize = 100;
/// How long SETTINGS that allow extended CONNECT are waited for on a new connection. Servers send them first of all.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);
/// How often to look meanwhile.
const SETTINGS_CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// The largest frame that is taken.
const MAX_FRAME: u32 = 16 * 1024;
/// What may wait to be sent, per stream.
const MAX_SEND_BUFFER: usize = 1024 * 1024;

/// A connection that can take requests.
#[derive(Clone)]
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    pub(super) origin: Arc<Origin>,
    /// It has carried a request before.
    pub(super) reused: bool,
    streams: Arc<Streams>,
    opened: Instant,
}

/// The streams of a connection.
struct Streams {
    activity: Arc<Activity>,
    in_flight: AtomicUsize,
    /// How many the other side takes.
    max: AtomicUsize,
    /// No more can be opened.
    closed: AtomicBool,
}

/// One stream of a connection, until its response is complete.
pub(super) struct Stream(Arc<Streams>);

/// The answer of a stream.
pub(super) struct Answer {
    pub(super) response: Response<Http2Body>,
    /// The other direction, after CONNECT.
    pub(super) tunnel: Option<SendStream<Bytes>>,
    pub(super) stream: Stream,
}

impl Http2 {
    pub(super) async fn open(
        io: HttpIo,
        origin: Origin,
        settings: &Http2Settings,
    ) -> Result<Self, h2::Error> {
        let activity = Arc::new(Activity::new());
        let io = io.with_budget(BUDGET_READ_HTTP2).heard_by(activity.clone());
        let (io, outgoing) = Coalesced::new(io);
        let (sender, mut connection) = Builder::new()
            .initial_max_send_streams(INITIAL_STREAMS)
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window)
            .max_frame_size(MAX_FRAME)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_send_buffer_size(MAX_SEND_BUFFER)
            .max_concurrent_reset_streams(settings.max_reset_streams)
            .max_pending_accept_reset_streams(settings.max_pending_resets)
            .max_local_error_reset_streams(Some(settings.max_error_resets))
            .enable_push(false)
            .handshake::<_, Bytes>(io)
            .await?;
        let (interval, timeout) = (settings.keep_alive_interval, settings.keep_alive_timeout);
        let keep_alive = KeepAlive::new(connection.ping_pong(), activity.clone(), interval, timeout);
        let streams = Arc::new(Streams {
            activity,
            in_flight: AtomicUsize::new(0),
            max: AtomicUsize::new(connection.max_concurrent_send_streams()),
            closed: AtomicBool::new(false),
        });
        tokio::spawn(run(connection, outgoing, keep_alive, streams.clone()));
        Ok(Self { sender, origin: Arc::new(origin), reused: false, streams, opened: Instant::now() })
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.streams.closed.load(Ordering::Relaxed)
    }

    /// Whether the other side has not said that it takes no more requests.
    pub(super) fn is_open(&mut self) -> bool {
        !matches!(self.sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.streams.in_flight.load(Ordering::Relaxed)
    }

    /// Whether the other side takes one more stream.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight() < self.streams.max.load(Ordering::Relaxed).max(1)
    }

    /// Whether the other side allows extended CONNECT (RFC 8441, section 3). Waits for the SETTINGS of a new connection.
    pub(super) async fn extended_connect(&self) -> bool {
        while !self.sender.is_extended_connect_protocol_enabled() {
            if !self.is_usable() || self.opened.elapsed() > SETTINGS_TIMEOUT {
                return false;
            }
            sleep(SETTINGS_CHECK_INTERVAL).await;
        }
        true
    }

    /// For the next request.
    pub(super) fn share(&self) -> Self {
        Self { reused: true, ..self.clone() }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The stream or the connection broke before the head of a response.
    pub(super) async fn send(self, request: Request<RequestBody>) -> Result<Answer, SendError> {
        let Self { mut sender, reused, streams, .. } = self;
        let counted = Stream::begin(streams);
        if let Err(error) = poll_fn(|cx| sender.poll_ready(cx)).await {
            // It takes no more requests.
            counted.0.closed.store(true, Ordering::Relaxed);
            return Err(SendError { unsent: Some(request), ..counted.0.failed(error, reused) });
        }
        let failed = |error| counted.0.failed(error, reused);
        let (head, body) = prepare(request);
        let is_connect = head.method() == Method::CONNECT;
        let is_complete = body.is_end_stream();
        let (mut response, stream) = sender.send_request(head, is_complete && !is_connect).map_err(failed)?;
        let (mut upload, tunnel) = match (is_connect, is_complete) {
            (true, _) => (None, Some(stream)),
            (false, true) => (None, None),
            (false, false) => (Some(Upload::new(stream, body)), None),
        };
        let response = poll_fn(|cx| {
            if let Some(body) = &mut upload
                && let Poll::Ready(ended) = Pin::new(body).poll(cx)
            {
                upload = None;
                if matches!(ended, Err(Stopped::BrokenOff)) {
                    // With the client's stream, this request ends too, before the next turn: it needs no answer.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            Pin::new(&mut response).poll(cx)
        })
        .await
        .map_err(failed)?;
        if let Err(why) = headers::check_response(&response) {
            let error = Broken::Malformed(why);
            return Err(SendError { error, unsent: None, reused, idle_closed: false });
        }
        // The application has answered early. The rest of the request goes on also while nobody reads the answer.
        let upload = upload.map(Detached::spawn);
        let (head, stream) = response.into_parts();
        let body = Http2Body::new(stream, &head.headers, upload);
        let response = Response::from_parts(head, body);
        Ok(Answer { response, tunnel, stream: counted })
    }
}

impl Streams {
    fn failed(&self, error: h2::Error, reused: bool) -> SendError {
        let error = Broken::Http2(error);
        let idle_closed = reused && error.is_closed() && self.activity.broke_while_idle();
        if error.ends_connection() {
            // The pool learns so at once: the next requests go elsewhere.
            self.closed.store(true, Ordering::Relaxed);
        }
        SendError { error, unsent: None, reused, idle_closed }
    }
}

impl Stream {
    fn begin(streams: Arc<Streams>) -> Self {
        if streams.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            streams.activity.idle_ends();
        }
        Self(streams)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads and writes until the connection ends.
async fn run(
    mut connection: Connection<Coalesced<HttpIo>, Bytes>,
    outgoing: Outgoing<HttpIo>,
    mut keep_alive: KeepAlive,
    streams: Arc<Streams>,
) {
    poll_fn(|cx| {
        // The requests that wait learn of an error.
        let ended = Pin::new(&mut connection).poll(cx).map(drop);
        // The other side may say so at any time.
        streams.max.store(connection.max_concurrent_send_streams(), Ordering::Relaxed);
        if ended.is_ready() {
            outgoing.end(cx);
            return ended;
        }
        outgoing.poll(cx);
        keep_alive.poll(cx, streams.in_flight.load(Ordering::Relaxed) > 0)
    })
    .await;
    streams.closed.store(true, Ordering::Relaxed);
}

/// The head as HTTP/2 has it.
fn prepare(request: Request<RequestBody>) -> (Request<()>, RequestBody) {
    let (head, body) = request.into_parts();
    let mut head = Request::from_parts(head, ());
    *head.version_mut() = Version::HTTP_2;
    if let Some(length) = body.size_hint().exact()
        && (length > 0
            || !matches!(*head.method(), Method::GET | Method::HEAD | Method::DELETE | Method::CONNECT))
    {
        head.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    if let Some(protocol) = head.extensions_mut().remove::<hyper::ext::Protocol>() {
        head.extensions_mut().insert(h2::ext::Protocol::from(protocol.as_str()));
    }
    (head, body)
}
