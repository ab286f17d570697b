//! Recognizes protocols by the first bytes of a connection, by pure functions.
//!
//! TLS is terminated only if the ClientHello names the pod's identity. The first bytes are read before that is known;
//! [`crate::net::Prefixed`] replays them.
#![forbid(unsafe_code)]

#[cfg(test)]
mod fuzz;
mod hello;
mod http;

pub use self::{
    hello::{Hello, MAX_HELLO, client_hello},
    http::{Http, MAX_REQUEST_LINE, ServerFirst, http, server_first},
};

#[cfg(test)]
mod tests;
