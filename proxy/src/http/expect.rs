//! Holds a request's body back until the application says that it wants it (RFC 9110, section 10.1.1).
//!
//! hyper's server tells the client to continue as soon as somebody reads the body. The proxy must not say so before the
//! application does.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use http::{Request, StatusCode, Version, header};
use std::sync::atomic::{AtomicBool, Ordering};

/// Opens when the application has answered `100 Continue`.
pub(super) struct Gate(Arc<Shared>);

#[derive(Default)]
struct Shared {
    open: AtomicBool,
    waker: AtomicWaker,
}

impl Gate {
    /// A gate for a request that expects `100 Continue`.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let expects = request.version() == Version::HTTP_11
            && request.headers().get(header::EXPECT).is_some_and(|expectation| {
                expectation.as_bytes().eq_ignore_ascii_case(b"100-continue")
            });
        expects.then(|| Self(Arc::default()))
    }

    /// Opens the gate when the response to `request` begins with a 100.
    pub(super) fn attach<B>(&self, request: &mut Request<B>) {
        let shared = self.0.clone();
        hyper::ext::on_informational(request, move |response| {
            if response.status() == StatusCode::CONTINUE {
                shared.open.store(true, Ordering::Release);
                shared.waker.wake();
            }
        });
    }

    pub(super) fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.waker.register(cx.waker());
        if self.0.open.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}
