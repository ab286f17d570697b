//! Whether the control plane can answer, and if not, what it waits for.

use std::sync::Arc;

use parking_lot::Mutex;

/// All clones share the same state.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(Arc<Mutex<Option<String>>>);

impl Readiness {
    /// Not ready yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Some("the start".into()))))
    }

    /// What it waits for; `None` if it is ready.
    pub(crate) fn waits_for(&self) -> Option<String> {
        self.0.lock().clone()
    }

    pub(crate) fn wait_for(&self, what: impl Into<String>) {
        *self.0.lock() = Some(what.into());
    }

    pub(crate) fn set_ready(&self) {
        *self.0.lock() = None;
    }
}
