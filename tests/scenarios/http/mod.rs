//! HTTP through the mesh.
//!
//! Applications must not notice the mesh. So each scenario also runs without it, first: a failure there is a mistake of
//! the scenario. [`paths`] has the cluster and the ways through it.

mod conformance;
mod extended_connect;
mod grpc;
mod headers;
mod interim;
mod messages;
mod paths;
mod programs;
mod smuggling;
mod smuggling_http2;
mod streaming;
mod tunnels;

use weft_tests::suite::Area;

pub(crate) fn areas() -> [Area; 11] {
    [
        messages::area(),
        headers::area(),
        interim::area(),
        tunnels::area(),
        extended_connect::area(),
        streaming::area(),
        smuggling::area(),
        smuggling_http2::area(),
        programs::area(),
        grpc::area(),
        conformance::area(),
    ]
}
