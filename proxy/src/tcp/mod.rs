//! How are bytes moved and connections ended?
#![forbid(unsafe_code)]

mod relay;
mod socket;
mod transfer;

#[cfg(test)]
mod tests;

pub use self::{
    relay::{Carried, End, Legs, relay},
    socket::{ConnectError, connect, errno, reset, tune},
    transfer::{Broken, Count, Leg, transfer},
};
