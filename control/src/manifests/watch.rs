//! When may the folders have changed?
//!
//! The kernel's notifications are a hint that makes changes take effect at once; a slow look at everything makes up
//! for those that get lost (a folder that was replaced, a file system without notifications, a full queue).

use std::{path::PathBuf, sync::Arc, time::Duration};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout, timeout_at},
};

/// Quiet time after the last notification: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(40);
/// A folder that never is quiet is read this often.
const LONGEST_WAIT: Duration = Duration::from_millis(400);
/// How often the folders are read whether there was a notification or not.
const RESCAN: Duration = Duration::from_secs(3);

/// Tells when folders may have changed.
#[derive(Debug)]
pub struct Watch {
    changed: Arc<Notify>,
    next_rescan: Instant,
    _watcher: RecommendedWatcher,
}

/// Why folders cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The kernel refused a watch.
    #[error("cannot watch {folder}: {error} (is fs.inotify.max_user_watches or max_user_instances reached?)")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Its reason.
        error: notify::Error,
    },
    /// The kernel gives no watches at all.
    #[error("cannot watch folders: {0}")]
    Unavailable(#[from] notify::Error),
}

impl Watch {
    /// Watches `roots` with all their sub-folders.
    pub fn new(roots: &[PathBuf]) -> Result<Self, WatchError> {
        let changed = Arc::new(Notify::new());
        let wake = changed.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading makes access events too; those would never end.
            let is_change = event.map_or(true, |event| match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
                EventKind::Access(_) => false,
                _ => true,
            });
            if is_change {
                wake.notify_one();
            }
        })?;
        for root in roots {
            watcher
                .watch(root, RecursiveMode::Recursive)
                .map_err(|error| WatchError::Folder { folder: root.clone(), error })?;
        }
        Ok(Self { changed, next_rescan: Instant::now() + RESCAN, _watcher: watcher })
    }

    /// Waits until the folders should be read again.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.changed.notified() => {
                let latest = Instant::now() + LONGEST_WAIT;
                // Until nothing more comes, but not for ever.
                while let Ok(Ok(())) = timeout_at(latest, timeout(QUIET, self.changed.notified())).await {}
            }
            () = sleep_until(self.next_rescan) => {}
        }
        self.next_rescan = Instant::now() + RESCAN;
    }
}
