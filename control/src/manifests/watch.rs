//! Notices changes of the folders.
//!
//! Notifications of the kernel make changes take effect at once. Reading everything every few seconds makes up for
//! notifications that are lost (a folder was replaced, the file system has none, the queue was full).

use std::{path::PathBuf, sync::Arc, time::Duration};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout, timeout_at},
};

/// How long to wait for further notifications: an editor writes a file in several steps.
const QUIET_TIME: Duration = Duration::from_millis(40);
/// How long to wait at most if notifications never stop.
const MAX_WAIT: Duration = Duration::from_millis(400);
/// How often the folders are read even without a notification.
const RESCAN_INTERVAL: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Watch {
    changed: Arc<Notify>,
    next_rescan: Instant,
    _watcher: RecommendedWatcher,
}

#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error(
        "cannot watch {folder}: {error} (the limits are fs.inotify.max_user_watches and \
         fs.inotify.max_user_instances)",
        folder = folder.display()
    )]
    Folder { folder: PathBuf, error: notify::Error },
    #[error("cannot watch folders: {0}")]
    Unavailable(#[from] notify::Error),
}

impl Watch {
    /// Watches `roots` and all folders below them.
    pub(super) fn new(roots: &[PathBuf]) -> Result<Self, WatchError> {
        let changed = Arc::new(Notify::new());
        let wake = changed.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the folders causes access events, too: counting them would make it read again for ever.
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
        Ok(Self { changed, next_rescan: Instant::now() + RESCAN_INTERVAL, _watcher: watcher })
    }

    /// Waits until the folders should be read again.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            () = self.changed.notified() => {
                let latest = Instant::now() + MAX_WAIT;
                while let Ok(Ok(())) = timeout_at(latest, timeout(QUIET_TIME, self.changed.notified())).await {}
            }
            () = sleep_until(self.next_rescan) => {}
        }
        self.next_rescan = Instant::now() + RESCAN_INTERVAL;
    }
}
