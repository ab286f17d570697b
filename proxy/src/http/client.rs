//! Connections to applications and endpoints, for one request at a time (HTTP/1) or for many (HTTP/2).

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
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
    io::HttpIo,
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
    /// Since when it has been idle.
    pub(super) idle_since: Instant,
}

#[derive(Clone)]
pub(super) struct Http2 {
    sender: http2::SendRequest<RequestBody>,
    pub(super) origin: Arc<Origin>,
    reused: bool,
    /// Counts the requests in flight by its references: one of each, and one of the pool.
    streams: Arc<MaxStreams>,
}

/// How many streams the other side takes at once.
struct MaxStreams(AtomicUsize);

/// One stream of an HTTP/2 connection, until its response is complete.
pub(super) struct Stream {
    _counted: Arc<MaxStreams>,
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
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(io.with_budget(BUDGET_READ_HTTP1)))
            .await?;
        tokio::spawn(async move {
            // The request or its response learns of an error.
            let _ = connection.with_upgrades().await;
        });
        Ok(Self { sender, origin: Arc::new(origin), reused: false, idle_since: Instant::now() })
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
        let streams = Arc::new(MaxStreams(AtomicUsize::new(connection.current_max_send_streams())));
        let counted = Arc::downgrade(&streams);
        tokio::spawn(poll_fn(move |cx| {
            let ended = Pin::new(&mut connection).poll(cx);
            // The other side may say so at any time.
            if let Some(streams) = counted.upgrade() {
                streams.0.store(connection.current_max_send_streams(), Ordering::Relaxed);
            }
            ended.map(drop)
        }));
        Ok(Self { sender, origin: Arc::new(origin), reused: false, streams })
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) fn in_flight(&self) -> usize {
        Arc::strong_count(&self.streams).saturating_sub(1)
    }

    /// Whether the other side takes one more stream.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight() < self.streams.0.load(Ordering::Relaxed).max(1)
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
                match connection.sender.try_send_request(request).await {
                    Ok(response) => Ok((response, Used::Http1(connection))),
                    Err(error) => Err(SendError::new(error, reused)),
                }
            }
            Self::Http2(mut connection) => match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    Ok((response, Used::Http2 { _stream: Stream { _counted: connection.streams } }))
                }
                Err(error) => Err(SendError::new(error, connection.reused)),
            },
        }
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
