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
    pub(super) fn ended(self) {
        self.route.request_ended(self.started.elapsed());
    }
}

impl Request {
    pub(super) fn begin(leg: Arc<HttpSeries>, route: Arc<RouteSeries>, grpc: bool, started: Instant) -> Self {
        leg.request();
        route.request();
        Self { leg, route, grpc, started, observers: Vec::new(), responded: None }
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
    pub(super) fn failed(self, status: StatusCode, failure: Option<StreamFailure>) {
        let class = failure.map_or_else(|| Class::complete(status, None), Class::broken);
        let latency = self.started.elapsed();
        self.leg.response(Some(status), class, latency);
        self.route.response(Some(status), class, latency, Duration::ZERO);
        self.observers.iter().for_each(|observer| observer.ended(Some(status), class, &self));
    }
}

impl Record {
    pub(super) fn end(self, outcome: Outcome<'_>) {
        let empty = HeaderMap::new();
        let class = match outcome {
            Outcome::Complete(trailers) => {
                let grpc = self.request.grpc.then(|| trailers.unwrap_or(&empty));
                Class::complete(self.status, grpc)
            }
            Outcome::Broken(failure) => Class::broken(failure),
        };
        let now = Instant::now();
        let total = now.saturating_duration_since(self.request.started);
        self.request.leg.response(Some(self.status), class, total);
        let response = total.saturating_sub(self.request.processing());
        self.request.route.response(Some(self.status), class, total, response);
        let request = &self.request;
        request.observers.iter().for_each(|observer| observer.ended(Some(self.status), class, request));
    }
}
