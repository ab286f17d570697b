//! Who keeps a cluster what its manifests say while they change?

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Cluster, Report};
use crate::error::{Error, Result};

/// How often the manifests are looked at. Only files whose inode changed are read.
const EVERY: Duration = Duration::from_millis(200);

/// Reconciles until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Reconciles `cluster` again and again; `tell` hears of every result.
    pub fn start(
        cluster: Arc<Cluster>,
        mut tell: impl FnMut(Result<Report>) + Send + 'static,
    ) -> Result<Self> {
        let (stop, stopped) = channel();
        let work = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
                tell(cluster.reconcile());
            }
        };
        let thread = std::thread::Builder::new()
            .name("watcher".into())
            .spawn(work)
            .map_err(Error::io("start a thread for", "the watcher"))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was printed by its own thread.
            let _ = thread.join();
        }
    }
}
