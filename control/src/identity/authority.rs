//! Which issuer signs now?

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::{
    create,
    issuer::{Issuer, IssuerError},
};
use crate::{index::Mesh, metrics::Metrics};

pub(super) const ANCHORS: &str = "anchors.pem";
pub(super) const ISSUER: &str = "issuer.pem";
pub(super) const ISSUER_KEY: &str = "issuer-key.pem";

/// How often the files are compared with what is in use.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From when on an issuer's end is announced.
const EXPIRES_SOON: time::Duration = time::Duration::days(60);

/// The mesh's certificate authority: files, and the issuer that was read from them last.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
    metrics: Metrics,
    issuer: RwLock<Arc<Issuer>>,
    seen: Mutex<Files>,
}

/// Why there is no certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file or folder.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// A part of the authority is there, another is not.
    #[error(
        "{path} is missing: put it there, or remove the others of {ANCHORS}, {ISSUER} and {ISSUER_KEY} to have a \
         new authority made",
        path = missing.display()
    )]
    Incomplete {
        /// The file that is not there.
        missing: PathBuf,
    },
    /// The issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// No new authority could be made.
    #[error("cannot make a certificate authority: {0}")]
    Create(rcgen::Error),
}

/// The content of the files.
#[derive(PartialEq, Eq)]
struct Files {
    anchors: Vec<u8>,
    issuer: Vec<u8>,
    key: Vec<u8>,
}

impl Authority {
    /// The authority in `folder`, made if there is none.
    pub(crate) fn open(folder: &Path, mesh: &Mesh, metrics: Metrics) -> Result<Self, AuthorityError> {
        create::if_absent(folder, mesh)?;
        let seen = Files::read(folder)?;
        let issuer = seen.issuer()?;
        announce(&issuer, &metrics);
        let (issuer, seen) = (RwLock::new(Arc::new(issuer)), Mutex::new(seen));
        Ok(Self { folder: folder.to_owned(), metrics, issuer, seen })
    }

    /// The issuer that signs now.
    pub(super) fn issuer(&self) -> Arc<Issuer> {
        self.issuer.read().clone()
    }

    /// Takes over files that changed. What cannot be used is left alone; the issuer before it goes on.
    pub(crate) fn reload(&self) -> Result<(), AuthorityError> {
        let files = Files::read(&self.folder)?;
        let mut seen = self.seen.lock();
        if *seen == files {
            return Ok(());
        }
        let issuer = files.issuer();
        *seen = files;
        let issuer = issuer?;
        announce(&issuer, &self.metrics);
        *self.issuer.write() = Arc::new(issuer);
        Ok(())
    }

    /// Reloads whenever the files change, until `stopping`.
    pub(crate) async fn follow(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut last = String::new();
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.reload() {
                Ok(()) => last.clear(),
                Err(error) => {
                    let text = error.to_string();
                    if text != last {
                        self.metrics.issuer_error();
                        tracing::error!("{text}; the issuer before it stays in use");
                    }
                    last = text;
                }
            }
        }
    }
}

fn announce(issuer: &Issuer, metrics: &Metrics) {
    let expires = issuer.expires();
    metrics.issuer(expires);
    match expires - OffsetDateTime::now_utc() < EXPIRES_SOON {
        true => {
            tracing::warn!(%expires, "issuer is loaded; it expires soon: replace {ISSUER} and {ISSUER_KEY}")
        }
        false => tracing::info!(%expires, "issuer is loaded"),
    }
}

impl Files {
    fn read(folder: &Path) -> Result<Self, AuthorityError> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|error| AuthorityError::File { path, error })
        };
        let key = folder.join(ISSUER_KEY);
        let mode = fs::metadata(&key).map(|meta| meta.permissions().mode()).unwrap_or_default();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %key.display(), "others could read the issuer's key; taking that right away");
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600))
                .map_err(|error| AuthorityError::File { path: key.clone(), error })?;
        }
        Ok(Self { anchors: read(ANCHORS)?, issuer: read(ISSUER)?, key: read(ISSUER_KEY)? })
    }

    fn issuer(&self) -> Result<Issuer, IssuerError> {
        Issuer::read(&self.anchors, &self.issuer, &self.key)
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files(…)")
    }
}
