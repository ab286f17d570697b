//! Connections of HTTP/1 to applications and endpoints: they carry one request at a time.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Instant,
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;

use super::{
    activity::Activity,
    body::RequestBody,
    client::{Origin, SendError},
    driven::Driven,
    io::HttpIo,
    received::{NextFrame, Received},
    settings::{BUDGET_READ_HTTP1, MAX_HEAD, MAX_HEADERS},
};

/// A connection that can take a request. The request that uses it polls it.
pub(super) struct Http1 {
    // Dropped first: then the connection closes.
    sender: http1::SendRequest<RequestBody>,
    connection: Driven,
    pub(super) origin: Arc<Origin>,
    activity: Arc<Activity>,
    /// It has carried a request before.
    pub(super) reused: bool,
    /// Since when it has been idle.
    pub(super) idle_since: Instant,
}

impl Http1 {
    pub(super) async fn open(io: HttpIo, origin: Origin) -> hyper::Result<Self> {
        let activity = Arc::new(Activity::new());
        let io = io.with_budget(BUDGET_READ_HTTP1).heard_by(activity.clone());
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(io))
            .await?;
        let connection = Driven::new(async move {
            // The request or its response learns of an error.
            let _ = connection.with_upgrades().await;
        });
        let (origin, reused, idle_since) = (Arc::new(origin), false, Instant::now());
        Ok(Self { sender, connection, origin, activity, reused, idle_since })
    }

    /// Gives it a task of its own: the requests on it do not come from one connection, whose task looks after it while
    /// it is idle.
    pub(super) fn with_task(mut self) -> Self {
        self.connection.detach();
        self
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// It is idle from now on.
    pub(super) fn rest(&mut self) {
        self.idle_since = Instant::now();
    }

    /// Waits until it can take a request.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        let Self { sender, connection, .. } = self;
        poll_fn(|cx| connection.poll_until(cx, |cx| sender.poll_ready(cx))).await
    }

    /// Notices that the other side has closed it, if it has.
    pub(super) fn tend(&mut self, cx: &mut Context<'_>) {
        self.connection.tend(cx);
    }

    pub(super) fn is_usable(&mut self) -> bool {
        self.tend(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready() && !self.sender.is_closed()
    }

    /// Sends a request. Returns the connection with the response.
    ///
    /// # Errors
    /// The connection broke before the head of a response.
    pub(super) async fn send(
        mut self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Self), SendError> {
        let reused = std::mem::replace(&mut self.reused, true);
        self.activity.idle_ends();
        let body = request.body_mut().watch_end();
        let Self { sender, connection, .. } = &mut self;
        let mut response = pin!(connection.before_poll(|| sender.try_send_request(request)));
        match poll_fn(|cx| connection.poll_until(cx, |cx| response.as_mut().poll(cx))).await {
            Ok(response) => {
                // The application has answered early. The rest of the request goes on also while nobody reads the answer.
                if body.is_some_and(|body| body.strong_count() > 0) {
                    connection.detach();
                }
                Ok((response, self))
            }
            Err(error) => {
                let idle_closed = reused && self.activity.broke_while_idle();
                Err(SendError::of_http1(error, reused, idle_closed))
            }
        }
    }

    /// Reads the body of the response.
    pub(super) fn poll_frame(&mut self, body: &mut Received, cx: &mut Context<'_>) -> NextFrame {
        self.connection.poll_until(cx, |cx| body.poll_frame(cx))
    }
}
