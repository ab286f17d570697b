//! How are bytes moved and connections ended?
#![forbid(unsafe_code)]

mod member;
mod relay;
mod socket;
mod transfer;

#[cfg(test)]
mod tests;

pub use self::{
    member::Member,
    relay::{Carried, End, FirstWord, Legs, Relay, relay},
    socket::{ConnectError, connect, end_by_reset, end_orderly, errno, reset, tune},
    transfer::{Broken, Count, Leg, transfer},
};
