//! HTTP/1 as it is on the wire: what the scenarios' own servers and clients speak.
//!
//! Nothing here is lenient. [`Head`] and [`Message`] refuse everything that two implementations might read differently,
//! so a message that reaches an [`Origin`] is unambiguous.

mod body;
mod curl;
mod head;
pub mod malformed;
mod message;
mod origin;
mod wire;

pub use self::{
    body::{Framing, To},
    curl::{Fetched, curl},
    head::{Field, Head},
    message::Message,
    origin::{Origin, Session},
    wire::Wire,
};
