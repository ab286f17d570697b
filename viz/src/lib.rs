//! weft's view of the mesh: figures from Prometheus, live calls, and the dashboard that shows them.
#![forbid(unsafe_code)]

mod admin;
mod api;
mod args;
mod certificates;
mod clock;
mod cluster;
mod config;
mod figures;
mod fixed_proxy;
mod kubernetes_taps;
mod logging;
mod metrics;
mod missing;
mod prometheus;
mod proxies;
mod query;
pub mod rights;
mod run;
pub mod tap;
mod taps;
mod web;

pub use self::{args::Args, run::run, taps::Taps};
