//! weft-control's own certificate, with which it proves itself to its clients.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::{
    authority::CertificateAuthority, files::CertificateAuthorityError, issuer::Issuer, issuer::IssuerError,
};
use crate::{mesh::Mesh, metrics::Metrics};

/// Renewed after this part of the remaining lifetime.
const RENEW_AFTER: f64 = 0.7;
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
const RETRY: Duration = Duration::from_secs(5);

/// The certificate that TLS connections are accepted with. It is renewed in time, and at once when the issuer changes.
#[derive(Debug)]
pub(crate) struct OwnCertificate {
    identity: String,
    authority: Arc<CertificateAuthority>,
    lifetime: Duration,
    current: ArcSwap<Current>,
    metrics: Metrics,
    /// Which metric says when it expires.
    set_expiration: fn(&Metrics, OffsetDateTime),
}

#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    expires: OffsetDateTime,
}

impl OwnCertificate {
    pub(crate) fn new(
        mesh: &Mesh,
        authority: Arc<CertificateAuthority>,
        lifetime: Duration,
        metrics: Metrics,
    ) -> Result<Self, CertificateAuthorityError> {
        Self::issue(mesh.own_identity(), authority, lifetime, metrics, Metrics::set_own_expiration)
    }

    /// A certificate for the DNS name of the webhook.
    pub(crate) fn of_webhook(
        name: String,
        authority: Arc<CertificateAuthority>,
        lifetime: Duration,
        metrics: Metrics,
    ) -> Result<Self, CertificateAuthorityError> {
        Self::issue(name, authority, lifetime, metrics, Metrics::set_webhook_expiration)
    }

    fn issue(
        identity: String,
        authority: Arc<CertificateAuthority>,
        lifetime: Duration,
        metrics: Metrics,
        set_expiration: fn(&Metrics, OffsetDateTime),
    ) -> Result<Self, CertificateAuthorityError> {
        let current = issue(&authority.issuer(), &identity, lifetime)?;
        set_expiration(&metrics, current.expires);
        tracing::info!(identity, expires = %current.expires, "issued weft-control's own certificate");
        let current = ArcSwap::from_pointee(current);
        Ok(Self { identity, authority, lifetime, current, metrics, set_expiration })
    }

    /// The identity that clients must expect.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Renews the certificate until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut issuers = self.authority.subscribe();
        issuers.mark_unchanged();
        let mut pause = self.renew_after();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = issuers.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
            let issuer = issuers.borrow_and_update().clone();
            pause = match issue(&issuer, &self.identity, self.lifetime) {
                Ok(current) => {
                    (self.set_expiration)(&self.metrics, current.expires);
                    tracing::info!(identity = self.identity, expires = %current.expires, "renewed weft-control's own certificate");
                    self.current.store(Arc::new(current));
                    self.renew_after()
                }
                Err(error) => {
                    self.metrics.issuer_error();
                    let expires = self.current.load().expires;
                    tracing::error!(%error, %expires, "cannot renew weft-control's own certificate; the previous one stays in use");
                    RETRY
                }
            };
        }
    }

    /// The certificate in use, with those of its issuer.
    #[cfg(test)]
    pub(super) fn chain(&self) -> Vec<rustls_pki_types::CertificateDer<'static>> {
        self.current.load().certified.cert.clone()
    }

    fn renew_after(&self) -> Duration {
        let remaining = self.current.load().expires - OffsetDateTime::now_utc();
        let remaining = Duration::try_from(remaining).unwrap_or_default();
        remaining.mul_f64(RENEW_AFTER).clamp(MIN_PAUSE, MAX_PAUSE)
    }
}

fn issue(issuer: &Issuer, identity: &str, lifetime: Duration) -> Result<Current, IssuerError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IssuerError::Sign)?;
    let leaf = issuer.sign(identity, &key, lifetime, OffsetDateTime::now_utc())?;
    let chain = std::iter::once(leaf.der).chain(issuer.chain().iter().cloned()).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // A key that was made a moment ago can be read.
    let key = any_ecdsa_type(&key).map_err(|_| IssuerError::Sign(rcgen::Error::CouldNotParseKeyPair))?;
    Ok(Current { certified: Arc::new(CertifiedKey::new(chain, key)), expires: leaf.expires })
}

impl ResolvesServerCert for OwnCertificate {
    /// Whatever name the client asks for: it verifies the certificate.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().certified.clone())
    }
}
