//! Watches the file of trust anchors.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::tls::{Anchors, AnchorsError};

const PERIOD: Duration = Duration::from_secs(1);

/// The trust anchors in the PEM bundle `path`, and the task that reads them whenever the file changes.
pub fn watch_anchors(
    path: &Path,
) -> (watch::Receiver<Option<Anchors>>, impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = watch::channel(None);
    (receiver, watch_file(path.into(), PERIOD, sender))
}

/// Publishes the trust anchors whenever the file changes, until all receivers are dropped. An invalid file is ignored.
pub(super) async fn watch_file(path: Arc<Path>, period: Duration, current: watch::Sender<Option<Anchors>>) {
    let mut seen: Option<Result<Vec<u8>, io::ErrorKind>> = None;
    loop {
        // A bundle is a few KiB. Reading it is cheaper than handling every way of replacing it (rename, a symlink that
        // moves as in Kubernetes, append).
        let content = read_bounded(&path).await;
        let now = content.as_ref().map(Clone::clone).map_err(io::Error::kind);
        if seen.as_ref() != Some(&now) {
            match content.map_err(AnchorsError::from).and_then(|pem| Anchors::from_pem(&pem)) {
                Ok(anchors) => {
                    tracing::info!(path = %path.display(), anchors = anchors.count(), "trust anchors loaded");
                    current.send_replace(Some(anchors));
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "failed to load trust anchors; keeping the previous ones");
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
