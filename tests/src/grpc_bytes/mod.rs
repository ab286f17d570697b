//! The gRPC service `weft.test.Bytes`, whose messages are plain bytes, in tonic.
//!
//! The programs in Go and Python have the same service and the same client, so each client can check each server.

mod client;
mod codec;
mod server;

pub use self::{client::check, server::BytesServer};

const NAME: &str = "weft.test.Bytes";
/// The largest message.
const LARGEST: usize = 64 << 20;
