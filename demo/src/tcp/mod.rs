//! A TCP client and server that check every byte.

pub(crate) mod client;
mod frame;
pub(crate) mod report;
pub(crate) mod server;
