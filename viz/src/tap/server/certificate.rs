//! The server's own certificate: made at the start, known to nobody but the API server.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::RwLock;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

pub(super) const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// A self-signed certificate. Its key is never stored.
#[derive(Clone, Debug)]
pub(super) struct ServingCertificate {
    pub(super) pem: String,
    pub(super) made: SystemTime,
    key: Arc<CertifiedKey>,
}

/// The certificate in use.
#[derive(Debug)]
pub(super) struct Current(RwLock<ServingCertificate>);

/// Why no certificate can be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error(transparent)]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl ServingCertificate {
    /// For the service `service` in `namespace`.
    pub(super) fn make(service: &str, namespace: &str) -> Result<Self, CertificateError> {
        let made = SystemTime::now();
        let name = format!("{service}.{namespace}.svc");
        let mut params = CertificateParams::new(vec![name.clone(), format!("{name}.cluster.local")])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = (made - CLOCK_SKEW).into();
        params.not_after = (made + LIFETIME).into();
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)?;
        let key = CertifiedKey::new(vec![certificate.der().clone()], signing);
        Ok(Self { pem: certificate.pem(), made, key: Arc::new(key) })
    }

    /// Whether it is time for the next one.
    pub(super) fn is_old(&self) -> bool {
        self.made.elapsed().is_ok_and(|age| age > LIFETIME.mul_f64(0.7))
    }
}

impl Current {
    pub(super) fn new(certificate: ServingCertificate) -> Arc<Self> {
        Arc::new(Self(RwLock::new(certificate)))
    }

    pub(super) fn get(&self) -> ServingCertificate {
        self.0.read().clone()
    }

    pub(super) fn set(&self, certificate: ServingCertificate) {
        *self.0.write() = certificate;
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().key.clone())
    }
}
