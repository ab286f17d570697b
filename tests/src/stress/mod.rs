//! Does a stream survive every way of writing, reading and closing, on sockets that the kernel may splice?
//!
//! - [`writer`] and [`reader`]: the system calls that applications use, in the mixtures that they use;
//! - [`Stream`]: two applications, two directions, a pattern of closing, each byte checked at its offset.
//!
//! Left out is what docs/operations.md says does not work on such sockets: a reader that uses splice(2), which is
//! told of an end where there is none, and waiting for the completions of MSG_ZEROCOPY, which do not come. Readers
//! that ask for a least amount (SO_RCVLOWAT, MSG_WAITALL) take what they get, and a blocking read may be told
//! EAGAIN.

mod reader;
mod stream;
mod writer;

pub use self::{
    reader::{READERS, Reader},
    stream::{CLOSINGS, Closing, Stream},
    writer::{WRITERS, Writer},
};
