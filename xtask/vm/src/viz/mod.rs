//! What shows a cluster: Prometheus, weft-viz, and the file by which `weft viz` finds them.

mod config;
mod context;
mod port;
mod prometheus;
mod server;
mod targets;

pub use self::{context::Context, prometheus::Prometheus, server::Server};
