//! What a connection may do before it yields to others.

use std::task::{Context, Poll};

use super::settings::BUDGET_WRITES;

/// What may still be read and written before the task yields, as tokio's own budget counts operations.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    /// The bytes of a whole budget.
    pub(super) size: usize,
    pub(super) bytes: usize,
    pub(super) writes: usize,
}

impl Budget {
    pub(super) fn new(size: usize) -> Self {
        Self { size, bytes: size, writes: BUDGET_WRITES }
    }

    /// Yields; the next poll has a new budget.
    pub(super) fn exhausted<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        *self = Self::new(self.size);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
