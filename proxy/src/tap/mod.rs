//! Shows requests to the mesh's tap service, while it asks for them.
//!
//! `service` answers `io.linkerd.proxy.tap.Tap/Observe` on a port of its own (`server`), for one identity only. The HTTP
//! modules show each request to [`Taps`], which costs one relaxed load while nobody taps. A request that matches and is
//! within the tap's limits becomes an [`Observation`], which puts its events into the tap's bounded queue.
#![forbid(unsafe_code)]

mod events;
mod limit;
mod matching;
mod metrics;
mod observation;
mod open_tap;
mod registry;
mod request;
mod server;
mod service;

pub use self::{
    matching::Call,
    observation::{End, Observation},
    registry::Taps,
    server::{Server, listen},
};
