//! Connections to applications and endpoints, for one request at a time (HTTP/1) or for many (HTTP/2).

use std::sync::Arc;

use http::{Request, Response};

use super::{
    body::RequestBody,
    headers,
    http1::Http1,
    http2::{Answer, Http2, Stream},
    origin::{Origin, SendError},
    received::Received,
};

/// A connection that can take a request.
pub(super) enum Client {
    Http1(Http1),
    Http2(Http2),
}

/// The connection of a response that is not complete yet.
pub(super) enum Used {
    Http1(Http1),
    Http2 { _stream: Stream },
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
                connection.extended_connect().await
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
    ) -> Result<(Response<Received>, Used), SendError> {
        match self {
            Self::Http1(connection) => {
                let (response, connection) = connection.send(request).await?;
                Ok((response.map(Received::Http1), Used::Http1(connection)))
            }
            Self::Http2(connection) => {
                let Answer { response, tunnel, stream } = connection.send(request).await?;
                let response = response.map(|body| Received::Http2 { body, tunnel });
                Ok((response, Used::Http2 { _stream: stream }))
            }
        }
    }
}
