//! What do clients send, and how do they know that every byte came through?
//!
//! - [`pattern`]: bytes that tell their own position, so that a lost, doubled or moved byte is seen;
//! - [`exchange`]: one connection, both directions at once, random sizes, every byte checked;
//! - [`manner`]: one connection to an echo server, and how the client leaves it;
//! - [`steady`]: connections that keep coming (or keep going) while a scenario changes the world under them.

pub mod exchange;
pub mod manner;
pub mod pattern;
pub mod steady;

pub use self::{
    exchange::{Plan, having_heard, heard},
    manner::Manner,
    pattern::Pattern,
    steady::{Outcome, Steady, Style},
};
