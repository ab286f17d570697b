//! The certificate authority of the mesh: its issuer, loaded again whenever its files change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::{
    create,
    files::{CertificateAuthorityError, Files, ISSUER, ISSUER_KEY},
    issuer::Issuer,
};
use crate::{mesh::Mesh, metrics::Metrics};

const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// An issuer that expires within this time causes a warning.
const EXPIRES_SOON: time::Duration = time::Duration::days(60);

#[derive(Debug)]
pub(crate) struct CertificateAuthority {
    folder: PathBuf,
    metrics: Metrics,
    issuer: RwLock<Arc<Issuer>>,
    /// The files as they were read last, valid or not.
    files: Mutex<Files>,
}

impl CertificateAuthority {
    /// Opens the authority in `folder`. If there is none, creates one.
    pub(crate) fn open(
        folder: &Path,
        mesh: &Mesh,
        metrics: Metrics,
    ) -> Result<Self, CertificateAuthorityError> {
        create::if_absent(folder, mesh)?;
        let files = Files::read(folder)?;
        let issuer = files.issuer()?;
        announce(&issuer, &metrics);
        let (issuer, files) = (RwLock::new(Arc::new(issuer)), Mutex::new(files));
        Ok(Self { folder: folder.to_owned(), metrics, issuer, files })
    }

    /// The issuer that signs now.
    pub(super) fn issuer(&self) -> Arc<Issuer> {
        self.issuer.read().clone()
    }

    /// Loads the files if they changed. If they are not valid, the previous issuer stays in use.
    fn reload(&self) -> Result<(), CertificateAuthorityError> {
        let new = Files::read(&self.folder)?;
        let mut files = self.files.lock();
        if *files == new {
            return Ok(());
        }
        let issuer = new.issuer();
        *files = new;
        let issuer = issuer?;
        announce(&issuer, &self.metrics);
        *self.issuer.write() = Arc::new(issuer);
        Ok(())
    }

    /// Loads changed files until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut last_error = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RELOAD_INTERVAL) => {}
            }
            match self.reload() {
                Ok(()) => last_error.clear(),
                Err(error) => {
                    let text = error.to_string();
                    if text != last_error {
                        self.metrics.issuer_error();
                        tracing::error!("{text}; the previous issuer stays in use");
                    }
                    last_error = text;
                }
            }
        }
    }
}

fn announce(issuer: &Issuer, metrics: &Metrics) {
    let expires = issuer.expires();
    metrics.set_issuer_expiration(expires);
    match expires - OffsetDateTime::now_utc() < EXPIRES_SOON {
        true => {
            tracing::warn!(%expires, "loaded an issuer that expires soon: replace {ISSUER} and {ISSUER_KEY}");
        }
        false => tracing::info!(%expires, "loaded the issuer"),
    }
}
