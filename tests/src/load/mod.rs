//! Clients that send known bytes and check what they receive.
//!
//! - [`pattern`]: bytes that depend on their position, so that a lost, repeated or moved byte is found;
//! - [`exchange`]: one connection, both directions at once, random sizes, every byte checked;
//! - [`close_mode`]: one connection to an echo server, and how the client closes it;
//! - [`steady`]: clients that keep connecting, or keep using connections, while a scenario changes the cluster.

pub mod close_mode;
pub mod exchange;
pub mod pattern;
pub mod steady;

pub use self::{
    close_mode::CloseMode,
    exchange::{Plan, after_receiving, received_before},
    pattern::Pattern,
    steady::{Outcome, Steady, Style},
};
