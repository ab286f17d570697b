//! Passes informational responses on to the client (RFC 9110, section 15.2), and bounds them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{HeaderValue, Request, StatusCode, Version, header};
use tokio_util::sync::CancellationToken;

use super::{connection::Connection, error::ProxyError, guard::MASKED_EXPECT};

/// Informational responses to one request; with one more, the request fails.
const MAX_INTERIMS: usize = 100;

/// Shows a request's expectation again, and passes informational responses to it on to the client.
pub(super) fn connect<B>(request: &mut Request<B>, connection: &Arc<Connection>) -> Interims {
    let version = request.version();
    if version == Version::HTTP_2 {
        return Interims(None);
    }
    if version == Version::HTTP_11
        && let Some(expect) = request.headers_mut().get_mut(header::EXPECT)
        && expect.as_bytes() == MASKED_EXPECT
    {
        *expect = HeaderValue::from_static("100-continue");
    }
    let connection = connection.clone();
    let (so_far, flood) = (AtomicUsize::new(0), CancellationToken::new());
    let interims = Interims(Some(flood.clone()));
    hyper::ext::on_informational(request, move |response| {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        if so_far.fetch_add(1, Ordering::Relaxed) >= MAX_INTERIMS {
            flood.cancel();
        } else if version == Version::HTTP_11 {
            connection.link().send_interim(response.status(), response.headers());
        }
    });
    interims
}

/// Watches the informational responses to one request.
pub(super) struct Interims(Option<CancellationToken>);

impl Interims {
    /// Waits for the response, unless informational ones come without end.
    ///
    /// # Errors
    /// There are too many.
    pub(super) async fn until<T>(&self, response: impl Future<Output = T>) -> Result<T, ProxyError> {
        let Some(flood) = &self.0 else { return Ok(response.await) };
        tokio::select! {
            biased;
            response = response => Ok(response),
            () = flood.cancelled() => Err(ProxyError::BadResponse("too many informational responses")),
        }
    }
}
