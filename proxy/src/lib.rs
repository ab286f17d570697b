//! What is weft-proxy made of?
//!
//! The modules follow a connection: capture brings it, identity and tls secure it, discovery and balance
//! find its endpoint, policy admits it, tcp moves its bytes, metrics tell of it.

pub mod admin;
pub mod balance;
pub mod detect;
pub mod discovery;
pub mod identity;
pub mod logging;
pub mod metrics;
pub mod tls;
