//! Records a request and its response in the metrics of one side.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode};

use crate::metrics::{Class, HttpSeries, RouteSeries, StreamFailure, grpc_code};

/// A request whose response is still to come.
pub(super) struct Request {
    pub(super) leg: Arc<HttpSeries>,
    pub(super) route: Arc<RouteSeries>,
    pub(super) grpc: bool,
    pub(super) started: Instant,
    /// Told how the response ends.
    pub(super) observers: Vec<Box<dyn Observer>>,
    /// When the head of the response arrived.
    responded: Option<Instant>,
    response_bytes: u64,
    /// Nothing more is to be recorded.
    done: bool,
}

/// A response whose body is on its way.
pub(super) struct Record {
    request: Request,
    status: StatusCode,
}

/// Told how a response ended.
pub(super) trait Observer: Send + Sync {
    /// The head of the response has arrived.
    fn responded(&mut self, _: StatusCode, _: &HeaderMap) {}

    fn ended(&mut self, end: &End);

    /// The request is sent again, as if it were another one.
    fn repeated(&mut self) {}
}

/// The end of a response.
#[derive(Clone, Copy)]
pub(super) struct End {
    /// `None`: the response never began.
    pub(super) status: Option<StatusCode>,
    pub(super) class: Class,
    /// The HTTP/2 code with which the stream broke, if it did.
    pub(super) reset: Option<u32>,
    pub(super) response_bytes: u64,
    /// From the head of the request to that of the response.
    pub(super) processing: Duration,
    pub(super) total: Duration,
}

/// Why a request got an answer of the proxy's own.
#[derive(Clone, Copy)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// `None`: it was not the stream that failed.
    pub(super) stream: Option<StreamFailure>,
    /// The client's stream is reset with this code instead.
    pub(super) reset: Option<u32>,
}

/// How a response ended.
#[derive(Clone, Copy)]
pub(super) enum Outcome<'a> {
    /// With these trailers, or headers if it has no body.
    Complete(Option<&'a HeaderMap>),
    /// Why, and the HTTP/2 code if there is one.
    Broken(StreamFailure, Option<u32>),
}

/// Measures how long the body of a request takes.
pub(super) struct RequestTimer {
    pub(super) route: Arc<RouteSeries>,
    pub(super) started: Instant,
}

impl RequestTimer {
    pub(super) fn frame(&self, bytes: usize) {
        self.route.request_frame(bytes);
    }

    pub(super) fn ended(self) {
        self.route.request_ended(self.started.elapsed());
    }
}

impl Request {
    pub(super) fn begin(leg: Arc<HttpSeries>, route: Arc<RouteSeries>, grpc: bool, started: Instant) -> Self {
        leg.request();
        route.request();
        Self {
            leg,
            route,
            grpc,
            started,
            observers: Vec::new(),
            responded: None,
            response_bytes: 0,
            done: false,
        }
    }

    pub(super) fn timer(&self) -> RequestTimer {
        RequestTimer { route: self.route.clone(), started: self.started }
    }

    /// The time from the head of the request to that of the response.
    fn processing(&self) -> Duration {
        self.responded.map_or(Duration::ZERO, |responded| responded.saturating_duration_since(self.started))
    }

    /// The head of the response has arrived.
    pub(super) fn responded<B>(mut self, response: &http::Response<B>) -> Record {
        self.responded = Some(Instant::now());
        self.observers
            .iter_mut()
            .for_each(|observer| observer.responded(response.status(), response.headers()));
        Record { status: response.status(), request: self }
    }

    /// The proxy answers itself.
    pub(super) fn failed(mut self, failure: Failure) {
        let Failure { status, stream, reset } = failure;
        // What the client sees of it: see `ProxyError::respond`.
        let (status, class) = match stream {
            failure if self.grpc && reset.is_none() => {
                (StatusCode::OK, Class::answered(grpc_code(status), failure))
            }
            Some(failure) => (status, Class::broken(failure)),
            None => (status, Class::complete(status, None)),
        };
        self.record(Some(status), class, reset);
    }

    /// The request is sent again, and that is recorded.
    pub(super) fn repeated(mut self) {
        self.observers.iter_mut().for_each(|observer| observer.repeated());
        self.done = true;
    }

    fn record(&mut self, status: Option<StatusCode>, class: Class, reset: Option<u32>) {
        let total = self.started.elapsed();
        self.leg.response(status, class, total);
        self.route.response(status, class, total, total.saturating_sub(self.processing()));
        let (processing, response_bytes) = (self.processing(), self.response_bytes);
        let end = End { status, class, reset, response_bytes, processing, total };
        self.observers.iter_mut().for_each(|observer| observer.ended(&end));
        self.done = true;
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.done {
            // The client does not wait for the response any more.
            self.record(None, Class::broken(StreamFailure::Canceled), Some(h2::Reason::CANCEL.into()));
        }
    }
}

impl Record {
    pub(super) fn frame(&mut self, bytes: usize) {
        self.request.response_bytes += bytes as u64;
        self.request.route.response_frame(bytes);
    }

    pub(super) fn end(mut self, outcome: Outcome<'_>) {
        let empty = HeaderMap::new();
        let (class, reset) = match outcome {
            Outcome::Complete(trailers) => {
                let grpc = self.request.grpc.then(|| trailers.unwrap_or(&empty));
                (Class::complete(self.status, grpc), None)
            }
            Outcome::Broken(failure, reset) => (Class::broken(failure), reset),
        };
        self.request.record(Some(self.status), class, reset);
    }
}
