//! What do servers answer? In-process servers whose sockets are inside a pod.
//!
//! - [`server`]: the accepting, and what a scenario can ask a server afterwards;
//! - [`behaviour`]: what is done with each connection.

pub mod behaviour;
pub mod server;

pub use self::{
    behaviour::{Behaviour, addresses, banner, echo, exchange, hold, name, sink},
    server::{Accepted, Server},
};
