//! TCP sockets and byte streams: open, tune, copy, replay and end connections.
#![forbid(unsafe_code)]

mod app_stream;
mod backoff;
mod copy;
mod direction;
mod over_tcp;
mod prefixed;
mod socket;

#[cfg(test)]
mod tests;

pub use self::{
    app_stream::AppStream,
    backoff::Backoff,
    copy::{Broken, Observer, copy},
    direction::{Direction, Peer},
    over_tcp::OverTcp,
    prefixed::{Inspection, Prefixed},
    socket::{ConnectFailure, connect, end_by_reset, end_orderly, errno, reset, tune},
};
