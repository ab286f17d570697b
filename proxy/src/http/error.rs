//! The answers that the proxy gives itself, with Linkerd's status codes.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version, header};

use super::{body::ResponseBody, broken::Broken, record::Failure};
use crate::{
    metrics::{StreamFailure, grpc_code, reset_code},
    policy::DenyReason,
    refusal::Reason,
    upstream::ConnectError,
};

pub(super) const PROXY_ERROR: HeaderName = HeaderName::from_static("l5d-proxy-error");
/// Why an extended CONNECT is not sent on.
pub(super) const NO_EXTENDED_CONNECT: ProxyError =
    ProxyError::NotSupported("the server does not allow extended CONNECT (RFC 8441)");
/// The label `error` of peers that break the protocol.
pub(super) const PROTOCOL_ERROR: &str = "protocol error";
/// The label `error` of clients that do not read for a while.
pub(super) const SLOW_READER: &str = "slow reader";
/// The label `error` of clients that send HTTP/2 frames without end.
pub(super) const FLOOD: &str = "flood";
pub(super) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("l5d-proxy-connection");

/// Why a request gets an answer from the proxy and not from the application.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("unauthorized request: {0}")]
    Denied(DenyReason),
    #[error("too many requests of this workload are in flight")]
    LoadShed,
    #[error("too many requests wait for this service")]
    QueueFull,
    /// No endpoint was ready for the failfast timeout; the last attempt's error.
    #[error("no endpoint was ready in time: {0}")]
    FailFast(Box<ConnectError>),
    #[error("{0}")]
    Connect(Box<ConnectError>),
    /// `unsent`: no attempt has sent anything of the request.
    #[error("connecting to the application: {failure}")]
    Application { failure: crate::net::ConnectFailure, unsent: bool },
    /// What the application sends is not an answer.
    #[error("{0}")]
    BadResponse(&'static str),
    /// The other side does not speak what the request needs.
    #[error("{0}")]
    NotSupported(&'static str),
    /// The connection broke before the response's head.
    #[error("{}", with_causes(.0))]
    Stream(#[from] Broken),
    /// No server has processed the request, and it was sent again as often as it may be.
    #[error("the request was refused: {}", with_causes(.0))]
    Refused(Broken),
}

impl ProxyError {
    /// Whether the request has certainly not reached the application of this node.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::Application { unsent: true, .. })
    }

    /// The error of a later attempt, after one that may have reached the application.
    pub(super) fn after_sent(self) -> Self {
        match self {
            Self::Application { failure, .. } => Self::Application { failure, unsent: false },
            other => other,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::LoadShed | Self::QueueFull | Self::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::FailFast(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::NotSupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Stream(_) | Self::BadResponse(_) => StatusCode::BAD_GATEWAY,
            Self::Application { failure, .. } => match failure.reason() {
                Reason::EndpointUnreachable => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            },
            Self::Connect(error) => match error.reason() {
                // Linkerd's connect timeout.
                Reason::NoReadyEndpoint | Reason::EndpointUnreachable | Reason::EndpointChanged => {
                    StatusCode::GATEWAY_TIMEOUT
                }
                Reason::DeniedByPolicy => StatusCode::FORBIDDEN,
                _ => StatusCode::BAD_GATEWAY,
            },
        }
    }

    /// The label `error` of `inbound_http_errors_total` and `outbound_http_errors_total`. Denials have metrics of their
    /// own.
    pub(super) fn label(&self) -> Option<&'static str> {
        match self {
            Self::BadRequest(_) => Some("bad request"),
            Self::Denied(_) => None,
            Self::LoadShed | Self::QueueFull => Some("loadshed"),
            Self::BadResponse(_) => Some(PROTOCOL_ERROR),
            Self::NotSupported(_) => Some("not supported"),
            Self::Stream(error) if error.is_protocol_error() => Some(PROTOCOL_ERROR),
            Self::Stream(_) | Self::Refused(_) => Some("i/o"),
            Self::Application { failure, .. } => Some(failure.reason().as_str()),
            Self::FailFast(_) => Some("failfast"),
            Self::Connect(error) => match error.reason() {
                Reason::DeniedByPolicy => None,
                reason => Some(reason.as_str()),
            },
        }
    }

    /// For the metrics of responses.
    fn failure(&self) -> Option<StreamFailure> {
        match self {
            Self::BadRequest(_) | Self::Denied(_) | Self::NotSupported(_) => None,
            Self::LoadShed | Self::QueueFull => Some(StreamFailure::LoadShed),
            Self::Stream(error) => Some(error.failure()),
            Self::Refused(_) => Some(StreamFailure::Refused),
            Self::Application { .. } | Self::BadResponse(_) => Some(StreamFailure::Io),
            Self::FailFast(_) => Some(StreamFailure::FailFast),
            Self::Connect(error) => match error.reason() {
                Reason::DeniedByPolicy => None,
                _ => Some(StreamFailure::Io),
            },
        }
    }

    /// What is recorded of the request.
    pub(super) fn recorded(&self) -> Failure {
        let reset = match self {
            // Passed on to the client as it came: see `server::StreamError`.
            Self::Stream(error) if error.is_reset_by_peer() => reset_code(error),
            Self::Refused(Broken::Http2(_)) => Some(h2::Reason::REFUSED_STREAM.into()),
            _ => None,
        };
        Failure { status: self.status(), stream: self.failure(), reset }
    }

    /// The answer. The client's connection ends after a 400, 502, 503 or 504, as with Linkerd. Only a client of the mesh
    /// (`meshed`) is told the reason, which may name addresses and policies.
    pub(super) fn respond(&self, version: Version, grpc: bool, meshed: bool) -> Response<ResponseBody> {
        let text: Bytes = self.to_string().into();
        let message = HeaderValue::from_maybe_shared(text.clone())
            .unwrap_or(HeaderValue::from_static("see the proxy's log"));
        let mut response = Response::new(ResponseBody::empty());
        let closes = !matches!(self.status(), StatusCode::FORBIDDEN | StatusCode::NOT_IMPLEMENTED);
        if grpc {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", grpc_code(self.status()).into());
            if meshed {
                headers.insert("grpc-message", percent_encoded(&text));
            }
        } else {
            *response.status_mut() = self.status();
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if meshed {
            response.headers_mut().insert(PROXY_ERROR, message);
        }
        if closes {
            if meshed {
                response.headers_mut().insert(PROXY_CONNECTION, HeaderValue::from_static("close"));
            }
            if version != Version::HTTP_2 {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
        }
        response
    }
}

/// gRPC's encoding of messages: bytes outside of printable ASCII, and the percent sign, as %XX.
fn percent_encoded(text: &[u8]) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b' '..=b'~' if *byte != b'%' => encoded.push(char::from(*byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
}

/// An error with its causes, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
