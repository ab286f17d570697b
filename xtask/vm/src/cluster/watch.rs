//! Reconciles a cluster again whenever its manifests change.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Cluster, Report};
use crate::error::{Error, Result};

/// How often the manifests are checked. Only files whose inode changed are read.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How often the size of logs is checked.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);
/// A longer log is emptied: /run is memory.
const MAX_LOG_BYTES: u64 = 32 << 20;

/// Reconciles until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Reconciles `cluster` again and again; `on_result` gets every result.
    pub fn start(
        cluster: Arc<Cluster>,
        mut on_result: impl FnMut(Result<Report>) + Send + 'static,
    ) -> Result<Self> {
        let (stop, stopped) = channel();
        let work = move || {
            let mut trimmed = Instant::now();
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(POLL_INTERVAL) {
                on_result(cluster.reconcile());
                if trimmed.elapsed() > TRIM_INTERVAL {
                    trimmed = Instant::now();
                    trim(&cluster.layout().logs_dir());
                }
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
            // The thread has printed its panic itself.
            let _ = thread.join();
        }
    }
}

/// All writers append, so they continue at the new end.
fn trim(logs: &Path) {
    let Ok(entries) = fs::read_dir(logs) else { return };
    for entry in entries.flatten() {
        if entry.metadata().is_ok_and(|meta| meta.len() > MAX_LOG_BYTES) {
            // If it fails, it is tried again soon.
            let _ = OpenOptions::new().write(true).open(entry.path()).and_then(|file| file.set_len(0));
        }
    }
}
