//! Counts HTTP requests and responses: Linkerd's golden metrics.
//!
//! `legs` has the classic families (`request_total`, …) with the labels of the connection; `routes` has the families by
//! service or server. Both are looked up once per connection.

mod class;
mod detection;
mod legs;
mod routes;

pub use self::{
    class::{Class, StreamFailure, grpc_code, reset_code},
    detection::DetectionResult,
    legs::{HttpLabels, HttpSeries},
    routes::{Application, Parent, RouteLabels, RouteSeries},
};
pub(super) use self::{detection::Detections, legs::Legs, routes::Routes};
