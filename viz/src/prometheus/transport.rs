//! The connections to Prometheus, with a certificate authority of the user's if there is one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Files of certificates have a few KiB.
const MAX_FILE: u64 = 1 << 20;

type Http = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// A pool of connections.
#[derive(Debug)]
pub(super) struct Transport {
    authorities: Option<PathBuf>,
    /// With the time at which the file was changed.
    current: Mutex<(Option<SystemTime>, Http)>,
}

/// Why the certificates cannot be used. The texts name the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("{0} cannot be read: {1}")]
    File(String, io::Error),
    #[error("{0} has no certificate: it needs PEM blocks as in -----BEGIN CERTIFICATE-----")]
    Empty(String),
    #[error("{0} has a certificate that cannot be used: {1}")]
    Certificate(String, String),
}

impl Transport {
    pub(super) fn new(authorities: Option<PathBuf>) -> Result<Self, TransportError> {
        let current = Mutex::new(match &authorities {
            None => (None, client(HttpsConnectorBuilder::new().with_webpki_roots())),
            Some(file) => (Some(changed_at(file)?), client_of(file)?),
        });
        Ok(Self { authorities, current })
    }

    /// The pool. It is a new one if the file has changed: authorities are renewed.
    pub(super) fn http(&self) -> Result<Http, TransportError> {
        let mut current = self.current.lock();
        if let Some(file) = &self.authorities {
            let changed = Some(changed_at(file)?);
            if current.0 != changed {
                *current = (changed, client_of(file)?);
            }
        }
        Ok(current.1.clone())
    }
}

fn changed_at(file: &Path) -> Result<SystemTime, TransportError> {
    let read = fs::metadata(file).and_then(|metadata| metadata.modified());
    read.map_err(|error| TransportError::File(file.display().to_string(), error))
}

fn client_of(file: &Path) -> Result<Http, TransportError> {
    let name = || file.display().to_string();
    let refused = |error: &dyn std::fmt::Display| TransportError::Certificate(name(), error.to_string());
    let length = fs::metadata(file).map_err(|error| TransportError::File(name(), error))?.len();
    if length > MAX_FILE {
        return Err(TransportError::File(name(), io::Error::other("it is too large for certificates")));
    }
    let text = fs::read(file).map_err(|error| TransportError::File(name(), error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| refused(&error))?;
        roots.add(certificate).map_err(|error| refused(&error))?;
    }
    if roots.is_empty() {
        return Err(TransportError::Empty(name()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(client(HttpsConnectorBuilder::new().with_tls_config(config)))
}

fn client(builder: HttpsConnectorBuilder<hyper_rustls::builderstates::WantsSchemes>) -> Http {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_timer(TokioTimer::new())
        .build(connector)
}
