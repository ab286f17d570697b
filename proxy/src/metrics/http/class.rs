//! Classifies responses as success or failure, by Linkerd's rules.

use http::{HeaderMap, StatusCode};

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    pub success: bool,
    /// The gRPC status, if the response is one of gRPC.
    pub grpc_status: Option<u16>,
    /// Why the stream broke, if it did.
    pub failure: Option<StreamFailure>,
}

/// Why a request or its response did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamFailure {
    /// The client does not want the response any more.
    Canceled,
    /// The server has canceled the request.
    CanceledByServer,
    /// The stream was reset.
    Reset,
    /// The peer refused the stream before it processed it.
    Refused,
    /// The peer is about to close the connection.
    GoAway,
    /// The peer is overloaded by this client.
    EnhanceYourCalm,
    /// The connection broke.
    Io,
    /// No endpoint was ready in time.
    FailFast,
    /// Too many requests are in flight.
    LoadShed,
}

impl Class {
    /// A response that came to its end. `trailers` are empty if there were none.
    pub fn complete(status: StatusCode, grpc: Option<&HeaderMap>) -> Self {
        match grpc {
            None => Self { success: !status.is_server_error(), grpc_status: None, failure: None },
            Some(headers) => {
                let grpc_status = grpc_status(headers);
                let success = !status.is_server_error() && grpc_status.is_none_or(is_success);
                Self { success, grpc_status, failure: None }
            }
        }
    }

    pub fn broken(failure: StreamFailure) -> Self {
        Self { success: failure == StreamFailure::Canceled, grpc_status: None, failure: Some(failure) }
    }

    /// The proxy's own answer to a call of gRPC: it has status 200 and this code. `failure`: why the stream broke.
    pub fn answered(grpc_status: u16, failure: Option<StreamFailure>) -> Self {
        Self { success: is_success(grpc_status), grpc_status: Some(grpc_status), failure }
    }

    pub const fn as_str(self) -> &'static str {
        if self.success { "success" } else { "failure" }
    }
}

impl StreamFailure {
    /// The value of the label `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canceled | Self::CanceledByServer => "CANCEL",
            Self::Reset => "RESET",
            Self::Refused => "REFUSED",
            Self::GoAway => "GO_AWAY",
            Self::EnhanceYourCalm => "ENHANCE_YOUR_CALM",
            Self::Io => "IO",
            Self::FailFast => "FAIL_FAST",
            Self::LoadShed => "LOAD_SHED",
        }
    }

    /// The first one with the same label.
    pub const fn by_label(self) -> Self {
        match self {
            Self::CanceledByServer => Self::Canceled,
            other => other,
        }
    }

    /// Why the other side has broken a request or its response off.
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(current) = cause {
            if let Some(error) = current.downcast_ref::<h2::Error>() {
                return match error.reason() {
                    Some(h2::Reason::CANCEL) => Self::CanceledByServer,
                    Some(h2::Reason::REFUSED_STREAM) => Self::Refused,
                    Some(h2::Reason::ENHANCE_YOUR_CALM) => Self::EnhanceYourCalm,
                    _ if error.is_go_away() => Self::GoAway,
                    Some(_) => Self::Reset,
                    None => Self::Io,
                };
            }
            cause = current.source();
        }
        Self::Io
    }
}

/// The HTTP/2 code with which a stream or connection was reset, if hyper's error tells one.
pub fn reset_code(error: &(dyn std::error::Error + 'static)) -> Option<u32> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<h2::Error>() {
            return error.reason().map(u32::from);
        }
        cause = current.source();
    }
    None
}

/// The gRPC status by which the proxy says `status`.
pub fn grpc_code(status: StatusCode) -> u16 {
    match status {
        StatusCode::BAD_REQUEST => 13,
        StatusCode::FORBIDDEN => 7,
        StatusCode::GATEWAY_TIMEOUT => 4,
        StatusCode::NOT_IMPLEMENTED => 12,
        _ => 14,
    }
}

/// The `grpc-status` of trailers, or of the headers of a response without a body. Codes that do not exist are UNKNOWN.
fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    let code: u16 = headers.get("grpc-status")?.to_str().ok()?.parse().unwrap_or(UNKNOWN);
    Some(if code <= UNAUTHENTICATED { code } else { UNKNOWN })
}

/// UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED, INTERNAL, UNAVAILABLE and DATA_LOSS are failures.
const fn is_success(grpc_status: u16) -> bool {
    !matches!(grpc_status, 2 | 4 | 7 | 13 | 14 | 15)
}

const UNKNOWN: u16 = 2;
const UNAUTHENTICATED: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn trailers(status: &str) -> HeaderMap {
        HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())])
    }

    #[test]
    fn http_fails_by_its_status() {
        let success = |code| Class::complete(StatusCode::from_u16(code).unwrap(), None).success;
        assert!(
            success(200) && success(404) && success(499) && !success(500) && !success(503) && !success(599)
        );
    }

    #[test]
    fn grpc_fails_by_its_own_status() {
        let success = |status| Class::complete(StatusCode::OK, Some(&trailers(status))).success;
        for status in ["2", "4", "7", "13", "14", "15", "99", "x"] {
            assert!(!success(status), "{status}");
        }
        for status in ["0", "1", "3", "5", "12", "16"] {
            assert!(success(status), "{status}");
        }
        assert!(Class::complete(StatusCode::OK, Some(&HeaderMap::new())).success);
        assert!(!Class::complete(StatusCode::BAD_GATEWAY, Some(&trailers("0"))).success);
    }

    #[test]
    fn a_reset_is_told_by_its_code() {
        let failure = |reason: h2::Reason| StreamFailure::of(&h2::Error::from(reason));
        assert_eq!(failure(h2::Reason::CANCEL), StreamFailure::CanceledByServer);
        assert!(!Class::broken(failure(h2::Reason::CANCEL)).success, "only a client may cancel");
        assert_eq!(failure(h2::Reason::REFUSED_STREAM), StreamFailure::Refused);
        assert_eq!(failure(h2::Reason::INTERNAL_ERROR), StreamFailure::Reset);
    }
}
