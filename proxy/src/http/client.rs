//! Connections to applications and endpoints, for one request at a time (HTTP/1) or for many (HTTP/2).

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::{
    body::RequestBody,
    coalesced::Coalesced,
    context::InboundContext,
    headers,
    io::HttpIo,
    peer_settings::PeerSettings,
    settings::{BUDGET_READ_HTTP1, BUDGET_READ_HTTP2, Http2Settings, MAX_HEAD, MAX_HEADER_LIST, MAX_HEADERS},
};
use crate::{
    balance::{Balancer, Endpoint},
    metrics::{HttpSeries, Tls},
    tls::Credential,
    workload::Workload,
};

/// What belongs to a connection.
pub(super) struct Origin {
    /// The counters of requests to the endpoint; `None` on the way to an application.
    pub(super) leg: Option<Arc<HttpSeries>>,
    /// The application's side of the request, if it is on this node.
    pub(super) local: Option<Arc<InboundContext>>,
    /// The certificate with which it was opened.
    pub(super) credential: Option<Arc<Credential>>,
    /// The endpoint, and the service for which it was opened.
    pub(super) endpoint: Option<(Arc<Balancer>, Endpoint)>,
    /// Where it leads; `None` on the way to an application.
    pub(super) target: Option<Target>,
    /// The other side is a weft proxy.
    pub(super) to_weft: bool,
}

/// The other end of a connection to an endpoint.
pub(super) struct Target {
    pub(super) addr: SocketAddr,
    pub(super) tls: Tls,
    /// Metric labels, `dst_*`.
    pub(super) labels: Option<Arc<BTreeMap<String, String>>>,
}

/// A connection that can take a request.
pub(super) enum Client {
    Http1(Http1),
    Http2(Http2),
}

pub(super) struct Http1 {
    sender: http1::SendRequest<RequestBody>,
    pub(super) origin: Arc<Origin>,
    /// It has carried a request before.
    reused: bool,
    /// The client of its request does not wait for the response any more.
    is_abandoned: Arc<AtomicBool>,
    /// Since when it has been idle.
    pub(super) idle_since: Instant,
}

#[derive(Clone)]
pub(super) struct Http2 {
    sender: http2::SendRequest<RequestBody>,
    pub(super) origin: Arc<Origin>,
    reused: bool,
    /// Counts the requests in flight by its references: one of each, and one of the pool.
    settings: Arc<PeerSettings>,
}

/// One stream of an HTTP/2 connection, until its response is complete.
pub(super) struct Stream {
    _counted: Arc<PeerSettings>,
}

/// The connection of a response that is not complete yet.
pub(super) enum Used {
    Http1(Http1),
    Http2 { _stream: Stream },
}

/// A request was not answered.
pub(super) struct SendError {
    pub(super) error: hyper::Error,
    /// The request, if it has certainly not been sent.
    pub(super) unsent: Option<Request<RequestBody>>,
    /// The connection had carried requests before: the other side may have closed it while it was idle.
    pub(super) reused: bool,
}

impl Origin {
    /// Of a connection from the proxy to an application on this node.
    pub(super) fn application() -> Self {
        Self { leg: None, local: None, credential: None, endpoint: None, target: None, to_weft: false }
    }

    /// Whether it was opened with this certificate, if it needs one, and leads to this workload, if that is on this node.
    pub(super) fn is_of(&self, credential: Option<&Arc<Credential>>, local: Option<&Arc<Workload>>) -> bool {
        let same_credential = self
            .credential
            .as_ref()
            .is_none_or(|opened_with| credential.is_some_and(|now| Arc::ptr_eq(opened_with, now)));
        let same_workload = self
            .local
            .as_ref()
            .is_none_or(|context| local.is_some_and(|now| Arc::ptr_eq(&context.workload, now)));
        same_credential && same_workload
    }

    /// Whether its endpoint has left the service, or is to be reached in another way.
    pub(super) fn has_left(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|(balancer, endpoint)| !balancer.has(endpoint))
    }
}

impl Http1 {
    pub(super) async fn open(io: HttpIo, origin: Origin) -> hyper::Result<Self> {
        let is_abandoned = Arc::default();
        let io = io.with_budget(BUDGET_READ_HTTP1).abandoned_by(&is_abandoned);
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(io))
            .await?;
        tokio::spawn(async move {
            // The request or its response learns of an error.
            let _ = connection.with_upgrades().await;
        });
        Ok(Self { sender, origin: Arc::new(origin), reused: false, is_abandoned, idle_since: Instant::now() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// It is idle from now on.
    pub(super) fn rest(&mut self) {
        self.idle_since = Instant::now();
    }

    /// Waits until it can take a request: its task has to run once.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        self.sender.ready().await
    }

    pub(super) fn is_usable(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed()
    }
}

impl Http2 {
    pub(super) async fn open(io: HttpIo, origin: Origin, settings: &Http2Settings) -> hyper::Result<Self> {
        let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window)
            .keep_alive_interval(settings.keep_alive_interval)
            .keep_alive_timeout(settings.keep_alive_timeout)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_concurrent_reset_streams(settings.max_reset_streams)
            .max_pending_accept_reset_streams(settings.max_pending_resets)
            .max_local_error_reset_streams(settings.max_error_resets)
            .handshake(TokioIo::new(Coalesced::new(io.with_budget(BUDGET_READ_HTTP2))))
            .await?;
        let settings = Arc::new(PeerSettings::new(connection.current_max_send_streams()));
        let told = Arc::downgrade(&settings);
        tokio::spawn(poll_fn(move |cx| {
            let ended = Pin::new(&mut connection).poll(cx);
            // The other side may say so at any time.
            if let Some(settings) = told.upgrade() {
                settings.update(
                    connection.current_max_send_streams(),
                    connection.is_extended_connect_protocol_enabled(),
                    cx.waker(),
                );
            }
            ended.map(drop)
        }));
        Ok(Self { sender, origin: Arc::new(origin), reused: false, settings })
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) fn in_flight(&self) -> usize {
        Arc::strong_count(&self.settings).saturating_sub(1)
    }

    /// Whether the other side takes one more stream.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight() < self.settings.max_streams()
    }

    /// For the next request.
    pub(super) fn share(&self) -> Self {
        Self { reused: true, ..self.clone() }
    }
}

impl Client {
    pub(super) fn origin(&self) -> &Arc<Origin> {
        match self {
            Self::Http1(connection) => &connection.origin,
            Self::Http2(connection) => &connection.origin,
        }
    }

    /// Whether it has carried a request before.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.reused,
            Self::Http2(connection) => connection.reused,
        }
    }

    /// Whether the other side takes this request. Extended CONNECT needs its consent (RFC 8441, section 3).
    pub(super) async fn takes<B>(&self, request: &Request<B>) -> bool {
        match self {
            Self::Http2(connection) if headers::is_extended_connect(request) => {
                connection.settings.extended_connect().await
            }
            _ => true,
        }
    }

    /// Sends a request. Returns the connection with the response: it can be used again when that is complete.
    ///
    /// # Errors
    /// The connection broke before the head of a response.
    pub(super) async fn send(
        self,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Used), SendError> {
        match self {
            Self::Http1(mut connection) => {
                let reused = connection.reused;
                connection.reused = true;
                let answered = {
                    let sending = pin!(connection.sender.try_send_request(request));
                    // Dropped before the request, whose end wakes the connection's task.
                    let abandoned = AbandonOnDrop(&connection.is_abandoned);
                    let answered = sending.await;
                    abandoned.defuse();
                    answered
                };
                match answered {
                    Ok(response) => Ok((response, Used::Http1(connection))),
                    Err(error) => Err(SendError::new(error, reused)),
                }
            }
            Self::Http2(mut connection) => match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    Ok((response, Used::Http2 { _stream: Stream { _counted: connection.settings } }))
                }
                Err(error) => Err(SendError::new(error, connection.reused)),
            },
        }
    }
}

/// Marks a connection whose request is dropped before it is answered.
struct AbandonOnDrop<'a>(&'a AtomicBool);

impl AbandonOnDrop<'_> {
    fn defuse(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl SendError {
    fn new(mut error: TrySendError<Request<RequestBody>>, reused: bool) -> Self {
        let unsent = error.take_message();
        Self { error: error.into_error(), unsent, reused }
    }

    /// Whether the request has certainly not been processed.
    pub(super) fn is_unprocessed(&self) -> bool {
        self.unsent.is_some() || self.was_refused()
    }

    /// Whether the other side has said that it did not process the request (RFC 9113, section 8.7).
    pub(super) fn was_refused(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&self.error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                return error.reason() == Some(h2::Reason::REFUSED_STREAM)
                    || (error.is_go_away()
                        && error.is_remote()
                        && error.reason() == Some(h2::Reason::NO_ERROR));
            }
            cause = error.source();
        }
        false
    }
}
