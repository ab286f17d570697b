//! HTTP/2 clients and servers of this process inside pods.
//!
//! They use the crate h2 itself, so that scenarios see frames' consequences: resets with their codes, GOAWAY, trailers.

mod chat;
mod client;
mod message;
mod server;

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use tokio::runtime::{Builder, Handle, Runtime};

pub use self::{
    client::{Client, Pending, is_unprocessed},
    message::{Answer, BreakOff, Received, Response, get, grpc, post},
    server::Server,
};

/// The runtime of all clients and servers. It is created at the first use and never ends.
fn runtime() -> io::Result<Handle> {
    static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*runtime {
        return Ok(runtime.handle().clone());
    }
    let new = Builder::new_multi_thread().worker_threads(2).thread_name("http2").enable_all().build()?;
    Ok(runtime.insert(new).handle().clone())
}
