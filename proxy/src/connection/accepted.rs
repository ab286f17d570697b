//! A connection that was accepted for a workload, and its place in the limits.

use std::sync::Arc;

use super::identify::Ends;
use crate::{limits::Permit, workload::Workload};

/// What the steps know of the connection that they serve. The socket goes from step to step beside it, because its type
/// changes on the way.
pub(super) struct Accepted {
    pub(super) workload: Arc<Workload>,
    pub(super) ends: Ends,
    permit: Arc<Permit>,
}

impl Accepted {
    /// Its place in the limits, for what outlives this.
    pub(super) fn permit(&self) -> Arc<Permit> {
        self.permit.clone()
    }

    pub(super) fn new(workload: Arc<Workload>, ends: Ends, permit: Permit) -> Self {
        Self { workload, ends, permit: Arc::new(permit) }
    }
}
