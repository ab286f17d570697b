//! What does a connection through weft cost, next to one without it and to other proxies?
//!
//! [`case`] says what is done, [`variant`] by which way it goes; [`run`] takes them in turns on one [`ground`] with the
//! generator of [`load`], [`figures`] condenses what was seen, [`table`], [`json`] and [`plot`] show it, [`targets`] judges.
//! `cargo xtask bench` starts it; docs/performance.md has the method and figures.

pub mod case;
pub mod figures;
pub mod ground;
pub mod haproxy;
pub mod json;
pub mod load;
pub mod plot;
pub mod proof;
pub mod run;
pub mod samples;
pub mod table;
pub mod targets;
pub mod usage;
pub mod variant;
pub mod workloads;
