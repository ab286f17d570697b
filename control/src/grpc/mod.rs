//! How do the gRPC services answer: over which listener, within which limits?

mod connections;
mod server;
mod streams;

pub(crate) use self::{
    server::{Services, serve},
    streams::{Stream, Streams},
};
