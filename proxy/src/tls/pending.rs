//! Bytes that are waiting to be taken.

/// A queue of bytes, taken from the front. It holds no memory when it is empty.
#[derive(Default)]
pub(super) struct PendingBytes {
    bytes: Vec<u8>,
    taken: usize,
}

impl PendingBytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends `n` zero bytes and returns them, for a writer that fills them itself.
    pub(super) fn grow(&mut self, n: usize) -> &mut [u8] {
        let old = self.bytes.len();
        self.bytes.resize(old + n, 0);
        &mut self.bytes[old..]
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.taken += n;
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
