//! The trust anchors: the root certificates that peers must chain to.

use std::{io, sync::Arc};

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// The trust anchors at one moment.
#[derive(Clone, Debug)]
pub struct Anchors {
    roots: Arc<RootCertStore>,
    certificates: Arc<[CertificateDer<'static>]>,
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
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
        let mut roots = RootCertStore::empty();
        for (index, certificate) in certificates.iter().enumerate() {
            let refused = |error| AnchorsError::Certificate(index + 1, error);
            roots.add(certificate.clone()).map_err(refused)?;
        }
        if roots.is_empty() {
            return Err(AnchorsError::Empty);
        }
        Ok(Self { roots: Arc::new(roots), certificates: certificates.into() })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.roots.len()
    }

    /// The certificates themselves.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }
}
