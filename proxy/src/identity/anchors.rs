//! Whom does this node trust?

use std::{io, path::Path, sync::Arc, time::Duration};

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::sync::watch;

/// The trust anchors at one moment.
#[derive(Clone, Debug)]
pub struct Anchors {
    roots: Arc<RootCertStore>,
}

/// The bundle of trust anchors cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnchorsError {
    /// The file cannot be read.
    #[error("cannot read the trust anchors: {0}")]
    Read(#[from] io::Error),
    /// It is not PEM.
    #[error("the trust anchors are not PEM: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// One of them is no certificate.
    #[error("trust anchor number {0} is not a certificate: {1}")]
    Certificate(usize, rustls::Error),
    /// There is none.
    #[error("the bundle of trust anchors is empty")]
    Empty,
}

impl Anchors {
    /// Reads a bundle. During a rotation it holds the old and the new ones.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AnchorsError> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            roots.add(certificate?).map_err(|error| AnchorsError::Certificate(index + 1, error))?;
        }
        if roots.is_empty() {
            return Err(AnchorsError::Empty);
        }
        Ok(Self { roots: Arc::new(roots) })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.roots.len()
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }
}

/// Keeps `current` what the file says, until nobody is interested any more. A broken file changes nothing.
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
