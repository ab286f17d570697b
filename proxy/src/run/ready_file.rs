//! The file by which a probe asks whether this very process is ready.
//!
//! During a takeover two processes answer on the admin address. A probe of the successor must not be answered by the
//! predecessor: whoever trusts it would end the predecessor too soon.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tokio::time::sleep;
use tracing::{error, info};

use crate::lifecycle::WorkloadSupervisor;

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Removes what an earlier process has left.
pub(super) fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("--ready-file {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes the file once the proxy is ready.
pub(super) async fn write_when_ready(path: PathBuf, supervisor: Arc<WorkloadSupervisor>) {
    let mut last = String::new();
    while let Err(missing) = supervisor.ready() {
        if missing != last {
            info!(reason = missing, "not ready yet");
            last = missing;
        }
        sleep(POLL_INTERVAL).await;
    }
    match fs::write(&path, "ready\n") {
        Ok(()) => info!("ready"),
        Err(error) => {
            error!(path = %path.display(), %error, "ready, but the ready file cannot be written");
        }
    }
}

/// Whether the process that writes `path` is ready.
///
/// # Errors
/// It is not.
pub fn is_ready(path: &Path) -> anyhow::Result<()> {
    fs::metadata(path).map(drop).with_context(|| format!("not ready (there is no file {})", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_an_earlier_process_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        assert!(is_ready(&path).is_err());
        fs::write(&path, "ready\n").unwrap();
        is_ready(&path).unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(is_ready(&path).is_err());
    }
}
