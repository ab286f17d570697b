//! An accepted connection, for what outlives its requests.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::link::Link;

/// An accepted connection, for what outlives its requests.
pub struct Connection {
    /// All open connections of the proxy.
    open: TaskTracker,
    /// Cancelled when the pod has gone away.
    terminated: CancellationToken,
    /// Cancelled when the proxy stops serving.
    draining: CancellationToken,
    link: Link,
    /// The connection's place in the limits.
    _keep: Box<dyn Send + Sync>,
}

impl Connection {
    pub fn new(
        open: TaskTracker,
        terminated: CancellationToken,
        draining: CancellationToken,
        keep: impl Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { open, terminated, draining, link: Link::default(), _keep: Box::new(keep) })
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Runs what a request has begun, until the pod goes away. It counts as an open connection.
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let connection = self.clone();
        self.open.spawn(async move {
            tokio::select! {
                () = task => {}
                () = connection.terminated.cancelled() => {}
            }
        });
    }

    /// Cancelled when the proxy stops serving.
    pub(super) fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }
}
