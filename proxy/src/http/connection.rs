//! An accepted connection, for what outlives its requests.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{link::Link, served_stream::Streams};

/// What is called with the time that a client has left bytes unread.
pub(super) type Report = Box<dyn Fn(Duration) + Send + Sync>;

/// An accepted connection, for what outlives its requests.
pub struct Connection {
    /// All open connections of the proxy.
    open: TaskTracker,
    /// Cancelled when the pod has gone away.
    terminated: CancellationToken,
    /// Cancelled when the proxy stops serving.
    draining: CancellationToken,
    link: Link,
    /// Those of HTTP/2.
    streams: Arc<Streams>,
    slow_reader: OnceLock<Report>,
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
        Arc::new(Self {
            open,
            terminated,
            draining,
            link: Link::default(),
            streams: Arc::default(),
            slow_reader: OnceLock::new(),
            _keep: Box::new(keep),
        })
    }

    /// What to do when the client has left bytes unread for long.
    pub(super) fn on_slow_reader(&self, report: Report) {
        let _ = self.slow_reader.set(report);
    }

    pub(super) fn report_slow_reader(&self, waited: Duration) {
        if let Some(report) = self.slow_reader.get() {
            report(waited);
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn streams(&self) -> &Arc<Streams> {
        &self.streams
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
