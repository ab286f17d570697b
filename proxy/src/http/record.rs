//! Records a request and its response in the metrics of one side.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode};

use crate::metrics::{Class, HttpSeries, RouteSeries, StreamFailure};

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
    fn responded(&mut self, _: &HeaderMap) {}

    fn ended(&self, status: Option<StatusCode>, class: Class, request: &Request);
}

/// How a response ended.
#[derive(Clone, Copy)]
pub(super) enum Outcome<'a> {
    /// With these trailers, or headers if it has no body.
    Complete(Option<&'a HeaderMap>),
    Broken(StreamFailure),
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
        Self { leg, route, grpc, started, observers: Vec::new(), responded: None, done: false }
    }

    pub(super) fn timer(&self) -> RequestTimer {
        RequestTimer { route: self.route.clone(), started: self.started }
    }

    /// The time from the head of the request to that of the response.
    pub(super) fn processing(&self) -> Duration {
        self.responded.map_or(Duration::ZERO, |responded| responded.saturating_duration_since(self.started))
    }

    /// The head of the response has arrived.
    pub(super) fn responded<B>(mut self, response: &http::Response<B>) -> Record {
        self.responded = Some(Instant::now());
        self.observers.iter_mut().for_each(|observer| observer.responded(response.headers()));
        Record { status: response.status(), request: self }
    }

    /// The proxy answers itself.
    pub(super) fn failed(mut self, status: StatusCode, failure: Option<StreamFailure>) {
        let class = failure.map_or_else(|| Class::complete(status, None), Class::broken);
        self.record(Some(status), class);
    }

    /// The request is sent again, and that is recorded.
    pub(super) fn repeated(mut self) {
        self.done = true;
    }

    fn record(&mut self, status: Option<StatusCode>, class: Class) {
        let total = self.started.elapsed();
        self.leg.response(status, class, total);
        self.route.response(status, class, total, total.saturating_sub(self.processing()));
        self.observers.iter().for_each(|observer| observer.ended(status, class, self));
        self.done = true;
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.done {
            // The client does not wait for the response any more.
            self.record(None, Class::broken(StreamFailure::Canceled));
        }
    }
}

impl Record {
    pub(super) fn frame(&self, bytes: usize) {
        self.request.route.response_frame(bytes);
    }

    pub(super) fn end(mut self, outcome: Outcome<'_>) {
        let empty = HeaderMap::new();
        let class = match outcome {
            Outcome::Complete(trailers) => {
                let grpc = self.request.grpc.then(|| trailers.unwrap_or(&empty));
                Class::complete(self.status, grpc)
            }
            Outcome::Broken(failure) => Class::broken(failure),
        };
        self.request.record(Some(self.status), class);
    }
}
