//! `weft viz` against a server that speaks weft-viz's contract: what is asked, what is printed, and what is said if an
//! answer is empty or missing.

#![allow(clippy::unwrap_used, reason = "to panic is how a test fails")]

mod server;
mod viz_checks;
mod viz_figures;
mod viz_taps;
