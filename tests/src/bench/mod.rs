//! The benchmark: what a connection through weft costs, beside a direct one and one through haproxy or nginx.
//!
//! [`case`] is what is done, [`variant`] the path that it takes; [`run`] measures them in turns on one [`testbed`] with
//! the generator of [`load`], [`figures`] condenses the measurements, [`table`], [`json`] and [`plot`] show them,
//! [`targets`] compares them with bounds. `cargo xtask bench` starts it; docs/performance.md has the method and
//! figures.

pub mod case;
pub mod figures;
mod forward;
mod h2load;
mod haproxy;
pub mod json;
pub mod load;
mod many;
mod nginx;
mod pair;
pub mod plot;
mod ports;
pub mod proof;
pub mod run;
pub mod samples;
pub mod table;
pub mod targets;
pub mod testbed;
pub mod usage;
pub mod variant;
pub mod workloads;
