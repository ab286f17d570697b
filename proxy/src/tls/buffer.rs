//! The large buffer that lies between the socket and the cipher.

use std::{
    cell::Cell,
    ops::{Deref, DerefMut},
};

/// A large buffer, borrowed from the thread for the length of one poll.
///
/// There is one per worker thread instead of one per connection, so an idle connection holds no buffer at all. A
/// TLS stream inside another one takes a second buffer, which is dropped afterwards.
pub(super) struct Buffer(Option<Box<[u8]>>);

impl Buffer {
    pub(super) const SIZE: usize = 144 * 1024;

    pub(super) fn take() -> Self {
        let buffer = SPARE.take().unwrap_or_else(|| vec![0; Self::SIZE].into_boxed_slice());
        Self(Some(buffer))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        SPARE.set(self.0.take());
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}
