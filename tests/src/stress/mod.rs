//! Streams with all ways of writing, reading and closing, for sockets that the kernel may splice.
//!
//! - [`writer`] and [`reader`]: the system calls that applications use;
//! - [`Stream`]: two applications, two directions, an order of closing; each byte is checked at its offset.
//!
//! Left out is what does not work on such sockets according to docs/operations.md: reading with splice(2), which
//! returns a false end of stream, and the completions of MSG_ZEROCOPY, which do not arrive. Readers with a minimum
//! amount (SO_RCVLOWAT, MSG_WAITALL) accept less, and blocking reads accept EAGAIN.

mod reader;
mod socket;
mod stream;
mod writer;

pub use self::{
    reader::{READERS, Reader},
    stream::{CLOSINGS, Closing, Stream},
    writer::{WRITERS, Writer},
};
