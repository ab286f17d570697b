//! Servers of this process whose sockets are inside a pod.
//!
//! - [`server`]: accepts connections and counts them;
//! - [`behaviour`]: what a server does with each connection.

pub mod behaviour;
pub mod server;

pub use self::{
    behaviour::{Accepted, Behaviour, addresses, banner, echo, exchange, hold, name, sink},
    server::Server,
};
