//! Watches the file with the trust anchors.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::tls::{Anchors, AnchorsError};

/// Publishes the content of the file whenever it changes, until nobody listens. A broken file changes nothing.
pub(super) async fn watch_file(path: Arc<Path>, period: Duration, current: watch::Sender<Option<Anchors>>) {
    let mut seen: Option<Result<Vec<u8>, io::ErrorKind>> = None;
    loop {
        // A bundle is a few KiB: reading it is cheaper than being wrong about how it is replaced (a rename, a
        // symlink that moves as in Kubernetes, an append).
        let content = read_bounded(&path).await;
        let now = content.as_ref().map(Clone::clone).map_err(io::Error::kind);
        if seen.as_ref() != Some(&now) {
            match content.map_err(AnchorsError::from).and_then(|pem| Anchors::from_pem(&pem)) {
                Ok(anchors) => {
                    tracing::info!(path = %path.display(), anchors = anchors.count(), "trust anchors loaded");
                    current.send_replace(Some(anchors));
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "trust anchors not loaded: the last good ones stay");
                }
            }
            seen = Some(now);
        }
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = current.closed() => return,
        }
    }
}

async fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt;
    let mut content = Vec::new();
    let read = tokio::fs::File::open(path).await?.take(MAX_BUNDLE + 1).read_to_end(&mut content).await?;
    if read as u64 > MAX_BUNDLE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

const MAX_BUNDLE: u64 = 1024 * 1024;
