//! What does a connection begin with?
//!
//! Inbound terminates TLS only for a ClientHello that names this pod, so it has to look at the first bytes
//! without consuming them: [`client_hello`] judges what has come so far, [`Prefixed`] gives it back to the reader.
#![forbid(unsafe_code)]

mod hello;
mod prefixed;

pub use self::{
    hello::{Hello, MAX_HELLO, client_hello},
    prefixed::Prefixed,
};

#[cfg(test)]
mod tests;
