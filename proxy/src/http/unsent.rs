//! How the proxy of the destination tells that of the source that a request has not reached the application.
//!
//! An application that stops closes its listener while proxies still have connections to its pod's proxy. A request on
//! one of these fails at the last step, and another endpoint can take it. Over HTTP/2 the stream is refused (RFC 9113,
//! section 8.7). HTTP/1 has no such answer, so the response has an option in `Connection`, a header that no proxy passes
//! on: whatever an application writes there is taken off, and cannot cause that a request is sent again.

use http::{HeaderMap, HeaderValue, Response, Version, header::CONNECTION};

use super::{
    body::ResponseBody,
    error::ProxyError,
    headers,
    server::{HttpVersion, StreamError},
};

/// The option in `Connection`. The connection is closed because the request's body has not been read.
const ANSWER: &str = "close, weft-unsent";
const OPTION: &str = "weft-unsent";

/// The answer to another weft proxy.
///
/// # Errors
/// It is not an answer but a refused stream.
pub(super) fn answer(
    error: &ProxyError,
    version: Version,
    grpc: bool,
    meshed: bool,
) -> Result<Response<ResponseBody>, StreamError> {
    if HttpVersion::of(version) == HttpVersion::Http2 {
        return Err(StreamError::refused());
    }
    let mut response = error.respond(version, grpc, meshed);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static(ANSWER));
    Ok(response)
}

/// Whether a response of another weft proxy says so.
pub(super) fn is_told(response: &HeaderMap) -> bool {
    response.contains_key(CONNECTION) && headers::lists(response, &CONNECTION, OPTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_that_an_application_forged_says_nothing_after_the_destinations_proxy() {
        let mut forged = HeaderMap::new();
        forged.insert(CONNECTION, HeaderValue::from_static(ANSWER));
        assert!(is_told(&forged));
        headers::strip_response(&mut forged, false);
        assert!(!is_told(&forged) && forged.is_empty());
    }
}
