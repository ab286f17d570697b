//! Connections of HTTP/1 to applications and endpoints: they carry one request at a time.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;

use super::{
    activity::Activity,
    body::RequestBody,
    io::HttpIo,
    origin::{Origin, SendError},
    settings::{BUDGET_READ_HTTP1, MAX_HEAD, MAX_HEADERS},
};

/// A connection that can take a request.
pub(super) struct Http1 {
    sender: http1::SendRequest<RequestBody>,
    pub(super) origin: Arc<Origin>,
    activity: Arc<Activity>,
    /// It has carried a request before.
    pub(super) reused: bool,
    /// The client of its request does not wait for the response any more.
    is_abandoned: Arc<AtomicBool>,
    /// Since when it has been idle.
    pub(super) idle_since: Instant,
}

impl Http1 {
    pub(super) async fn open(io: HttpIo, origin: Origin) -> hyper::Result<Self> {
        let (activity, is_abandoned) = (Arc::new(Activity::new()), Arc::default());
        let io = io.with_budget(BUDGET_READ_HTTP1).heard_by(activity.clone()).abandoned_by(&is_abandoned);
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
        let (origin, idle_since) = (Arc::new(origin), Instant::now());
        Ok(Self { sender, origin, activity, reused: false, is_abandoned, idle_since })
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

    /// Sends a request. Returns the connection with the response.
    ///
    /// # Errors
    /// The connection broke before the head of a response.
    pub(super) async fn send(
        mut self,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Self), SendError> {
        let reused = std::mem::replace(&mut self.reused, true);
        self.activity.idle_ends();
        let answered = {
            let sending = pin!(self.sender.try_send_request(request));
            // Dropped before the request, whose end wakes the connection's task.
            let abandoned = AbandonOnDrop(&self.is_abandoned);
            let answered = sending.await;
            abandoned.defuse();
            answered
        };
        match answered {
            Ok(response) => Ok((response, self)),
            Err(error) => {
                let idle_closed = reused && self.activity.broke_while_idle();
                Err(SendError::of_http1(error, reused, idle_closed))
            }
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
