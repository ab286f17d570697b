//! Connections to applications and endpoints, for one request at a time (HTTP/1) or for many (HTTP/2).

use std::{sync::Arc, time::Instant};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::{
    body::RequestBody,
    inbound::InboundContext,
    io::HttpIo,
    pool::{Key, Pools},
    settings::{Http2Settings, MAX_HEAD, MAX_HEADER_LIST, MAX_HEADERS},
};
use crate::{metrics::HttpSeries, tls::Credential};

/// What belongs to a connection.
pub(super) struct Origin {
    /// The counters of requests to the endpoint; `None` on the way to an application.
    pub(super) leg: Option<Arc<HttpSeries>>,
    /// The application's side of the request, if it is on this node.
    pub(super) local: Option<Arc<InboundContext>>,
    /// The certificate with which it was opened.
    pub(super) credential: Option<Arc<Credential>>,
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
}

/// A request was not answered.
pub(super) struct SendError {
    pub(super) error: hyper::Error,
    /// The request, if it has certainly not been sent.
    pub(super) unsent: Option<Request<RequestBody>>,
    /// The connection had carried requests before: the other side may have closed it while it was idle.
    pub(super) reused: bool,
}

/// An HTTP/1 connection that goes back where it came from when its response is complete.
pub(super) struct GiveBack {
    connection: Http1,
    to: Home,
}

/// Where idle connections wait.
pub(super) enum Home {
    Pool(Arc<Pools>, Key),
    Slot(Arc<parking_lot::Mutex<Option<Http1>>>),
}

impl Origin {
    /// Of a connection from the proxy to an application on this node.
    pub(super) fn application() -> Self {
        Self { leg: None, local: None, credential: None }
    }
}

impl Http1 {
    pub(super) async fn open(io: HttpIo, origin: Origin) -> hyper::Result<Self> {
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
        Ok(Self { sender, origin: Arc::new(origin), reused: false, idle_since: Instant::now() })
    }

    pub(super) fn is_usable(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed()
    }
}

impl Http2 {
    pub(super) async fn open(io: HttpIo, origin: Origin, settings: &Http2Settings) -> hyper::Result<Self> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window)
            .keep_alive_interval(settings.keep_alive_interval)
            .keep_alive_timeout(settings.keep_alive_timeout)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_concurrent_reset_streams(settings.max_reset_streams)
            .max_pending_accept_reset_streams(settings.max_pending_resets)
            .max_local_error_reset_streams(settings.max_error_resets)
            .handshake(TokioIo::new(io.in_turns()))
            .await?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, origin: Arc::new(origin), reused: false })
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
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

    /// Sends a request. An HTTP/1 connection is returned with the response: it can be used again when that is complete.
    ///
    /// # Errors
    /// The connection broke before the head of a response.
    pub(super) async fn send(
        self,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Option<Http1>), SendError> {
        match self {
            Self::Http1(mut connection) => {
                let reused = connection.reused;
                connection.reused = true;
                match connection.sender.try_send_request(request).await {
                    Ok(response) => Ok((response, Some(connection))),
                    Err(error) => Err(SendError::new(error, reused)),
                }
            }
            Self::Http2(mut connection) => match connection.sender.try_send_request(request).await {
                Ok(response) => Ok((response, None)),
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

impl GiveBack {
    pub(super) fn new(connection: Http1, to: Home) -> Self {
        Self { connection, to }
    }

    /// The response is complete.
    pub(super) fn give_back(self) {
        let Self { mut connection, to } = self;
        if connection.is_usable() {
            connection.idle_since = Instant::now();
            return to.put(connection);
        }
        if connection.sender.is_closed() {
            return;
        }
        // The end of the response has been read here before hyper's task has finished with it.
        tokio::spawn(async move {
            if connection.sender.ready().await.is_ok() {
                connection.idle_since = Instant::now();
                to.put(connection);
            }
        });
    }
}

impl Home {
    fn put(self, connection: Http1) {
        match self {
            Self::Pool(pools, key) => pools.put(key, connection),
            Self::Slot(slot) => *slot.lock() = Some(connection),
        }
    }
}
