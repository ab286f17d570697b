//! Signs certificates with the issuer's key.

use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer as Signer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// How much the clocks of the cluster may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(20);

/// An issuer whose certificates can be verified against the anchors.
#[derive(Debug)]
pub(super) struct Issuer {
    signer: Signer<'static, KeyPair>,
    /// The issuer's own certificate first.
    chain: Vec<CertificateDer<'static>>,
    anchors: Vec<CertificateDer<'static>>,
    /// When the chain stops being valid.
    expires: OffsetDateTime,
}

/// Why an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    #[error("{0} contains no certificate")]
    Empty(&'static str),
    #[error("{file} cannot be read: {error}")]
    Pem { file: &'static str, error: rustls_pki_types::pem::Error },
    #[error("{file} contains an invalid certificate: {error}")]
    Certificate { file: &'static str, error: String },
    #[error("issuer-key.pem contains no key that can sign: {0}")]
    Key(rcgen::Error),
    #[error("issuer-key.pem is not the key of the first certificate in issuer.pem")]
    OtherKey,
    #[error("cannot sign a certificate: {0}")]
    Sign(rcgen::Error),
    #[error("the issuer's certificate, or one that it depends on, expired at {0}")]
    Expired(OffsetDateTime),
    #[error("certificates of this issuer cannot be verified against anchors.pem: {0}")]
    NotTrusted(webpki::Error),
}

/// A certificate of a workload.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) der: CertificateDer<'static>,
    pub(super) expires: OffsetDateTime,
}

impl Issuer {
    /// Reads an issuer (PEM) and checks that it works.
    pub(super) fn read(anchors: &[u8], chain: &[u8], key: &[u8]) -> Result<Self, IssuerError> {
        let anchors = certificates("anchors.pem", anchors)?;
        let chain = certificates("issuer.pem", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| IssuerError::Pem { file: "issuer-key.pem", error })?;
        let key = KeyPair::try_from(&key).map_err(IssuerError::Key)?;
        let own = parse("issuer.pem", &chain[0])?;
        if own.public_key().raw != key.subject_public_key_info() {
            return Err(IssuerError::OtherKey);
        }
        let expires = expires(&chain, &anchors)?;
        let signer = Signer::from_ca_cert_der(&chain[0], key).map_err(IssuerError::Key)?;
        let issuer = Self { signer, chain, anchors, expires };
        issuer.check()?;
        Ok(issuer)
    }

    /// Signs a certificate for `identity` that expires after `lifetime`, or with the issuer if that is earlier.
    pub(super) fn sign(
        &self,
        identity: &str,
        key: &impl PublicKeyData,
        lifetime: Duration,
        now: OffsetDateTime,
    ) -> Result<Leaf, IssuerError> {
        if now >= self.expires {
            return Err(IssuerError::Expired(self.expires));
        }
        let mut params = CertificateParams::default();
        // Peers read the identity from the first DNS or URI name. The subject stays empty: a common name is too short for
        // an identity.
        params.subject_alt_names = vec![SanType::DnsName(identity.try_into().map_err(IssuerError::Sign)?)];
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial_number());
        params.not_before = now - CLOCK_SKEW;
        params.not_after = (now + lifetime + CLOCK_SKEW).min(self.expires);
        let expires = params.not_after;
        let certificate = params.signed_by(key, &self.signer).map_err(IssuerError::Sign)?;
        Ok(Leaf { der: certificate.der().clone(), expires })
    }

    /// The certificates between a leaf and the anchors, the issuer's own first.
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn expires(&self) -> OffsetDateTime {
        self.expires
    }

    /// Signs a certificate and verifies it as a peer would, so that a mistake in the issuer shows now and not later on
    /// the nodes.
    fn check(&self) -> Result<(), IssuerError> {
        let now = OffsetDateTime::now_utc();
        let key = KeyPair::generate().map_err(IssuerError::Sign)?;
        let leaf = self.sign("check.invalid", &key, CLOCK_SKEW, now)?;
        let anchors: Vec<_> = self
            .anchors
            .iter()
            .map(webpki::anchor_from_trusted_cert)
            .collect::<Result<_, _>>()
            .map_err(IssuerError::NotTrusted)?;
        let leaf = webpki::EndEntityCert::try_from(&leaf.der).map_err(IssuerError::NotTrusted)?;
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &self.chain,
            UnixTime::now(),
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .map(|_| ())
        .map_err(IssuerError::NotTrusted)
    }
}

fn certificates(file: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IssuerError> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| IssuerError::Pem { file, error })?;
    if all.is_empty() { Err(IssuerError::Empty(file)) } else { Ok(all) }
}

fn parse<'a>(file: &'static str, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IssuerError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| IssuerError::Certificate { file, error: error.to_string() })
}

/// The time when the first certificate of the chain expires, or the last of the anchors that could have signed it.
fn expires(
    chain: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'_>],
) -> Result<OffsetDateTime, IssuerError> {
    let mut first = None;
    let mut roots = None;
    for der in chain {
        let certificate = parse("issuer.pem", der)?;
        let until = certificate.validity().not_after.to_datetime();
        first = Some(first.map_or(until, |first: OffsetDateTime| first.min(until)));
        for anchor in anchors {
            let anchor = parse("anchors.pem", anchor)?;
            if anchor.subject().as_raw() == certificate.issuer().as_raw() {
                let until = anchor.validity().not_after.to_datetime();
                roots = Some(roots.map_or(until, |roots: OffsetDateTime| roots.max(until)));
            }
        }
    }
    let first = first.ok_or(IssuerError::Empty("issuer.pem"))?;
    Ok(roots.map_or(first, |roots| first.min(roots)))
}

fn serial_number() -> SerialNumber {
    // Positive, at most 20 bytes and unpredictable, as RFC 5280 and the CA/Browser Forum require.
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}
