//! weft's view of the mesh: figures from Prometheus, live calls, and the dashboard that shows them.
#![forbid(unsafe_code)]

pub mod tap;
pub mod taps;
