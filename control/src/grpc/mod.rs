//! The gRPC server with its limits.

mod connections;
mod server;

pub(crate) use self::server::{Services, serve};
