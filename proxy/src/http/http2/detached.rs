//! Work that goes on in a task of its own, and ends with what holds it.

use tokio::task::AbortHandle;

/// A task. Dropped, it ends: a stream that it holds is reset then, if nothing else holds that.
pub(super) struct Detached(Option<AbortHandle>);

impl Detached {
    pub(super) fn spawn(work: impl Future<Output: Send + 'static> + Send + 'static) -> Self {
        Self(Some(tokio::spawn(work).abort_handle()))
    }

    /// It goes on to its end.
    pub(super) fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
