//! Serves HTTP on an accepted connection.

use std::{fmt, future::poll_fn, pin::pin, sync::Arc};

use super::{
    body::ResponseBody,
    broken::Broken,
    client_side::HeadLimits,
    coalesced::Coalesced,
    connection::Connection,
    error::ProxyError,
    io::HttpIo,
    served_stream::StreamTasks,
    settings::{BUDGET_READ_HTTP2, HTTP2, IDLE_WHILE_DRAINING, MAX_HEAD, MAX_HEADER_LIST, MAX_HEADERS},
};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, TRANSFER_ENCODING},
};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::policy::DeclaredProtocol;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    Http1,
    Http2,
}

/// Answers requests.
pub(super) trait Handler: Send + Sync + 'static {
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, StreamError>> + Send;
}

/// The stream is reset instead of an answer.
#[derive(Debug)]
pub(super) enum StreamError {
    /// The other side has reset its stream: the code is the same.
    Peer(Broken),
    /// The request has not been processed.
    Refused(h2::Error),
}

impl HttpVersion {
    /// The version that a port declares.
    pub fn declared(protocol: DeclaredProtocol) -> Option<Self> {
        match protocol {
            DeclaredProtocol::Http1 => Some(Self::Http1),
            DeclaredProtocol::Http2 | DeclaredProtocol::Grpc => Some(Self::Http2),
            DeclaredProtocol::Detect | DeclaredProtocol::Opaque | DeclaredProtocol::Tls => None,
        }
    }

    pub(super) fn of(version: Version) -> Self {
        if version == Version::HTTP_2 { Self::Http2 } else { Self::Http1 }
    }
}

impl StreamError {
    /// Takes out the errors that are not to be answered but passed on, to a client that speaks `version`.
    pub(super) fn of_peer(error: ProxyError, version: Version) -> Result<ProxyError, Self> {
        match error {
            // A refusal says that nothing was processed, and an earlier attempt may have been.
            ProxyError::Stream(error)
                if version == Version::HTTP_2 && error.is_reset_by_peer() && !error.is_refusal() =>
            {
                Err(Self::Peer(error))
            }
            ProxyError::Refused(Broken::Http2(_)) if version == Version::HTTP_2 => Err(Self::refused()),
            other => Ok(other),
        }
    }

    /// Says that another server may be asked (RFC 9113, section 8.7).
    pub(super) fn refused() -> Self {
        Self::Refused(h2::Reason::REFUSED_STREAM.into())
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer(_) => "the other side has reset the stream",
            Self::Refused(_) => "the request has not reached the application",
        })
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            Self::Peer(error) => error,
            Self::Refused(error) => error,
        })
    }
}

/// Serves requests until the connection ends. Told to drain, it finishes those in flight.
///
/// # Errors
/// The client broke the protocol or the connection.
pub(super) async fn serve<H: Handler>(
    io: HttpIo,
    version: HttpVersion,
    connection: &Arc<Connection>,
    limits: HeadLimits,
    handler: Arc<H>,
) -> hyper::Result<()> {
    let draining = connection.draining();
    let service = service_fn(move |request| answer(handler.clone(), connection.clone(), request));
    match version {
        HttpVersion::Http1 => {
            let mut serving = pin!(
                http1::Builder::new()
                    .preserve_header_case(true)
                    .half_close(true)
                    .auto_date_header(false)
                    .header_read_timeout(None)
                    .max_buf_size(MAX_HEAD)
                    .max_headers(MAX_HEADERS)
                    .serve_connection(TokioIo::new(io.guarded(connection, limits)), service)
                    .with_upgrades()
            );
            let close = async {
                draining.cancelled().await;
                // Responses tell the client to close. One that is idle may be about to send a request.
                tokio::time::sleep(IDLE_WHILE_DRAINING).await;
            };
            tokio::select! {
                result = &mut serving => return result,
                () = close => serving.as_mut().graceful_shutdown(),
            }
            serving.await
        }
        HttpVersion::Http2 => {
            let (io, outgoing) =
                Coalesced::new(io.with_frames_watched(connection).with_budget(BUDGET_READ_HTTP2));
            let mut serving = pin!(
                http2::Builder::new(StreamTasks(connection.streams().clone()))
                    .timer(TokioTimer::new())
                    .auto_date_header(false)
                    .enable_connect_protocol()
                    .initial_stream_window_size(HTTP2.stream_window)
                    .initial_connection_window_size(HTTP2.connection_window)
                    .keep_alive_interval(HTTP2.keep_alive_interval)
                    .keep_alive_timeout(HTTP2.keep_alive_timeout)
                    .max_concurrent_streams(HTTP2.max_streams)
                    .max_header_list_size(MAX_HEADER_LIST)
                    .max_pending_accept_reset_streams(HTTP2.max_pending_resets)
                    .max_local_error_reset_streams(HTTP2.max_error_resets)
                    .serve_connection(TokioIo::new(io), service)
            );
            let mut drain = pin!(draining.cancelled());
            let mut is_draining = false;
            poll_fn(|cx| {
                if !is_draining && drain.as_mut().poll(cx).is_ready() {
                    is_draining = true;
                    serving.as_mut().graceful_shutdown();
                }
                let ended = serving.as_mut().poll(cx);
                if ended.is_ready() {
                    outgoing.end(cx)
                } else {
                    outgoing.poll(cx)
                }
                ended
            })
            .await
        }
    }
}

/// Answers a request. While the proxy drains, an HTTP/1 client is told to open its next connection elsewhere.
async fn answer<H: Handler>(
    handler: Arc<H>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, StreamError> {
    let version = HttpVersion::of(request.version());
    let asked = (request.method().clone(), request.version());
    if version == HttpVersion::Http1 {
        // Those of the last response were written, unless hyper had not ended it when this request came.
        connection.link().set_trailers(Vec::new());
    }
    let mut response = handler.handle(request).await?;
    if version == HttpVersion::Http1 {
        pass_trailers_on((&asked.0, asked.1), &mut response, &connection);
    }
    if version == HttpVersion::Http1
        && connection.is_draining()
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Arranges that a response's trailers are written to the client's stream, if its body is chunked there.
fn pass_trailers_on(
    (method, version): (&Method, Version),
    response: &mut Response<ResponseBody>,
    connection: &Arc<Connection>,
) {
    let encoding = response.headers().get(TRANSFER_ENCODING);
    let is_chunked = encoding.is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if is_chunked
        && (version, response.version()) == (Version::HTTP_11, Version::HTTP_11)
        && method != Method::HEAD
    {
        response.body_mut().write_trailers_to(connection);
    }
}
