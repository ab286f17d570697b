//! The files of the certificate authority.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::issuer::{Issuer, IssuerError};

pub(super) const ANCHORS: &str = "anchors.pem";
pub(super) const ISSUER: &str = "issuer.pem";
pub(super) const ISSUER_KEY: &str = "issuer-key.pem";

#[derive(Debug, thiserror::Error)]
pub enum CertificateAuthorityError {
    #[error("{path}: {error}", path = path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(
        "{path} is missing: put it there, or remove the others of {ANCHORS}, {ISSUER} and {ISSUER_KEY} to have a \
         new authority created",
        path = missing.display()
    )]
    Incomplete { missing: PathBuf },
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    #[error("cannot create a certificate authority: {0}")]
    Create(rcgen::Error),
}

/// The content of the files.
#[derive(PartialEq, Eq)]
pub(super) struct Files {
    anchors: Vec<u8>,
    issuer: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    pub(super) fn read(folder: &Path) -> Result<Self, CertificateAuthorityError> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|error| CertificateAuthorityError::File { path, error })
        };
        let key = folder.join(ISSUER_KEY);
        let mode = fs::metadata(&key).map(|meta| meta.permissions().mode()).unwrap_or_default();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %key.display(), "others could read the issuer's key; removing their permissions");
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600))
                .map_err(|error| CertificateAuthorityError::File { path: key.clone(), error })?;
        }
        Ok(Self { anchors: read(ANCHORS)?, issuer: read(ISSUER)?, key: read(ISSUER_KEY)? })
    }

    pub(super) fn issuer(&self) -> Result<Issuer, IssuerError> {
        Issuer::read(&self.anchors, &self.issuer, &self.key)
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files(…)")
    }
}
