//! Recognizes protocols by the first bytes of a connection. Pure functions.
//!
//! TLS is terminated only for a ClientHello that names the pod, so the first bytes are read before it is known who they
//! are for; [`crate::net::Prefixed`] replays them.
#![forbid(unsafe_code)]

mod hello;

pub use self::hello::{Hello, MAX_HELLO, client_hello};

#[cfg(test)]
mod tests;
