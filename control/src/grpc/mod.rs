//! The gRPC server, over TLS only, with its limits.

mod connections;
mod quota;
mod server;
#[cfg(test)]
mod tests;
mod tls;

pub use self::server::Error as GrpcError;
pub(crate) use self::server::{Services, serve};
