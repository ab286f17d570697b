//! The files of the certificate authority.

use std::{
    fmt, fs, io,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::issuer::{Issuer, IssuerError, Pem};

pub(super) const ANCHORS: &str = "anchors.pem";
pub(super) const ISSUER: &str = "issuer.pem";
pub(super) const ISSUER_KEY: &str = "issuer-key.pem";

/// The link that the kubelet replaces to change all files of a mounted Secret at once.
const MOUNTED_DATA: &str = "..data";
/// Bundles are a few KiB.
const MAX_FILE: u64 = 1 << 20;

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
    #[error(
        "--identity-issuer-dir {folder} holds no issuer: put tls.crt and tls.key there (a Secret of the type \
         kubernetes.io/tls) or crt.pem and key.pem (linkerd.io/tls)",
        folder = .0.display()
    )]
    NoIssuer(PathBuf),
    #[error(
        "there are no trust anchors: set --identity-trust-anchors-file, or put ca.crt into --identity-issuer-dir \
         {folder}",
        folder = .0.display()
    )]
    NoAnchors(PathBuf),
    #[error(
        "--identity-trust-anchors-file needs --identity-issuer-dir: an authority of weft-control's own has its anchors in the state folder"
    )]
    AnchorsAlone,
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    #[error("cannot create a certificate authority: {0}")]
    Create(rcgen::Error),
}

/// Where the authority's files are.
#[derive(Clone, Debug)]
pub(super) enum Location {
    /// weft-control has created the authority in this folder, or an operator has.
    State(PathBuf),
    /// The folder of a mounted Secret, and the trust anchors if they are elsewhere.
    Mounted { issuer: PathBuf, anchors: Option<PathBuf> },
}

/// The content of the files.
#[derive(PartialEq, Eq)]
pub(super) struct Files {
    anchors: File,
    issuer: File,
    key: File,
}

#[derive(PartialEq, Eq)]
struct File {
    name: String,
    content: Vec<u8>,
}

impl Location {
    pub(super) fn read(&self) -> Result<Files, CertificateAuthorityError> {
        match self {
            Self::State(folder) => {
                make_private(&folder.join(ISSUER_KEY))?;
                Ok(Files {
                    anchors: File::read(&folder.join(ANCHORS))?,
                    issuer: File::read(&folder.join(ISSUER))?,
                    key: File::read(&folder.join(ISSUER_KEY))?,
                })
            }
            Self::Mounted { issuer, anchors } => {
                let folder = version_of(issuer);
                let has = |name: &str| folder.join(name).exists();
                let (certificate, key) = match (has("tls.crt"), has("crt.pem")) {
                    (true, _) => ("tls.crt", "tls.key"),
                    (false, true) => ("crt.pem", "key.pem"),
                    (false, false) => return Err(CertificateAuthorityError::NoIssuer(issuer.clone())),
                };
                let anchors = match anchors {
                    Some(file) => File::read(file)?,
                    None if has("ca.crt") => File::read(&folder.join("ca.crt"))?,
                    None => return Err(CertificateAuthorityError::NoAnchors(issuer.clone())),
                };
                let issuer = File::read(&folder.join(certificate))?;
                Ok(Files { anchors, issuer, key: File::read(&folder.join(key))? })
            }
        }
    }
}

impl Files {
    pub(super) fn issuer(&self, clock_skew: Duration) -> Result<Issuer, IssuerError> {
        let pem = Pem { anchors: self.anchors.pem(), chain: self.issuer.pem(), key: self.key.pem() };
        Issuer::read(&pem, clock_skew)
    }

    /// What an operator replaces to have another issuer.
    pub(super) fn issuer_names(&self) -> (&str, &str) {
        (&self.issuer.name, &self.key.name)
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, CertificateAuthorityError> {
        let failed = |error| CertificateAuthorityError::File { path: path.to_owned(), error };
        let mut content = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content))
            .map_err(failed)?;
        if content.len() as u64 > MAX_FILE {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, content })
    }

    fn pem(&self) -> (&str, &[u8]) {
        (&self.name, &self.content)
    }
}

/// The folder to read a mounted Secret from: certificate and key of one version, even if the kubelet replaces them
/// meanwhile.
fn version_of(mounted: &Path) -> PathBuf {
    fs::canonicalize(mounted.join(MOUNTED_DATA)).unwrap_or_else(|_| mounted.to_owned())
}

fn make_private(key: &Path) -> Result<(), CertificateAuthorityError> {
    let mode = fs::metadata(key).map(|meta| meta.permissions().mode()).unwrap_or_default();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %key.display(), "others could read the issuer's key; removing their permissions");
    fs::set_permissions(key, fs::Permissions::from_mode(0o600))
        .map_err(|error| CertificateAuthorityError::File { path: key.to_owned(), error })
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files(…)")
    }
}
