//! The certificate authority of the mesh: its issuer, loaded again whenever its files change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    create,
    files::{CertificateAuthorityError, Files, Location},
    issuer::Issuer,
};
use crate::{mesh::Mesh, metrics::Metrics};

/// Reading a few KiB is cheaper than handling every way in which files can be replaced: renamed, written in place, or
/// behind a link that moves, as in a mounted Secret.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// An issuer or anchor that expires within this time causes a warning.
const EXPIRES_SOON: time::Duration = time::Duration::days(60);

/// Where the authority comes from, and what it issues.
#[derive(Clone, Debug)]
pub struct AuthorityConfig {
    /// The folder of a mounted Secret with the issuer. Without one, the authority is in the state folder, and is created
    /// if there is none.
    pub issuer_dir: Option<PathBuf>,
    /// The trust anchors. Only with `issuer_dir`.
    pub trust_anchors_file: Option<PathBuf>,
    /// How long a certificate is valid.
    pub lifetime: Duration,
    /// How much the clocks of the cluster may differ.
    pub clock_skew: Duration,
}

#[derive(Debug)]
pub(crate) struct CertificateAuthority {
    location: Location,
    clock_skew: Duration,
    metrics: Metrics,
    issuer: watch::Sender<Arc<Issuer>>,
    /// The files as they were read last, valid or not.
    files: Mutex<Files>,
}

impl CertificateAuthority {
    /// Opens the authority. If there is none in `state`, creates one.
    pub(crate) fn open(
        config: &AuthorityConfig,
        state: &Path,
        mesh: &Mesh,
        metrics: Metrics,
    ) -> Result<Self, CertificateAuthorityError> {
        let location = match (&config.issuer_dir, &config.trust_anchors_file) {
            (Some(issuer), anchors) => Location::Mounted { issuer: issuer.clone(), anchors: anchors.clone() },
            (None, Some(_)) => return Err(CertificateAuthorityError::AnchorsAlone),
            (None, None) => {
                create::if_absent(state, mesh)?;
                Location::State(state.to_owned())
            }
        };
        let files = location.read()?;
        let issuer = files.issuer(config.clock_skew)?;
        announce(&issuer, &files, &metrics);
        let (issuer, files) = (watch::Sender::new(Arc::new(issuer)), Mutex::new(files));
        Ok(Self { location, clock_skew: config.clock_skew, metrics, issuer, files })
    }

    /// The issuer that signs now.
    pub(super) fn issuer(&self) -> Arc<Issuer> {
        self.issuer.borrow().clone()
    }

    /// The certificate (DER) of the issuer that signs now.
    pub(crate) fn issuer_certificate(&self) -> Vec<u8> {
        self.issuer().chain().first().map(|der| der.to_vec()).unwrap_or_default()
    }

    /// Notifies about each new issuer, and about changed anchors.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Issuer>> {
        self.issuer.subscribe()
    }

    /// The trust anchors as PEM.
    pub(crate) fn anchors_pem(&self) -> String {
        self.issuer().anchors_pem()
    }

    /// Loads the files if they changed. If they are not valid, the previous issuer stays in use.
    fn reload(&self) -> Result<(), CertificateAuthorityError> {
        let new = self.location.read()?;
        let mut files = self.files.lock();
        if *files == new {
            return Ok(());
        }
        let issuer = new.issuer(self.clock_skew);
        *files = new;
        let issuer = issuer?;
        announce(&issuer, &files, &self.metrics);
        self.issuer.send_replace(Arc::new(issuer));
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

fn announce(issuer: &Issuer, files: &Files, metrics: &Metrics) {
    let (expires, anchors_expire) = (issuer.expires(), issuer.anchors_expire());
    metrics.set_issuer_expiration(expires);
    metrics.set_anchors_expiration(anchors_expire);
    tracing::info!(%expires, %anchors_expire, "loaded the issuer");
    let soon = OffsetDateTime::now_utc() + EXPIRES_SOON;
    if expires < soon {
        let (certificate, key) = files.issuer_names();
        tracing::warn!(%expires, "the issuer expires soon: replace {certificate} and {key}");
    }
    if anchors_expire < soon {
        tracing::warn!(%anchors_expire, "a trust anchor expires soon: add its successor");
    }
}
