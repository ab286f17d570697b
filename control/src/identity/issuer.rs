//! Signs certificates with the issuer's key.

use std::{fmt::Write, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer as Signer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// An issuer whose certificates can be verified against the anchors.
#[derive(Debug)]
pub(crate) struct Issuer {
    signer: Signer<'static, KeyPair>,
    /// The issuer's own certificate first.
    chain: Vec<CertificateDer<'static>>,
    anchors: Vec<CertificateDer<'static>>,
    /// When the chain stops being valid.
    expires: OffsetDateTime,
    /// When the first of the anchors stops being valid.
    anchors_expire: OffsetDateTime,
    /// How much the clocks of the cluster may differ.
    clock_skew: Duration,
}

/// The PEM texts that an issuer is read from, with the names of their files for errors.
pub(super) struct Pem<'a> {
    pub(super) anchors: (&'a str, &'a [u8]),
    pub(super) chain: (&'a str, &'a [u8]),
    pub(super) key: (&'a str, &'a [u8]),
}

/// Why an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    #[error("{0} contains no certificate")]
    Empty(String),
    #[error("{file} cannot be read: {error}")]
    Pem { file: String, error: rustls_pki_types::pem::Error },
    #[error("{file} contains an invalid certificate: {error}")]
    Certificate { file: String, error: String },
    #[error("{file} contains no key that can sign: {error}")]
    Key { file: String, error: rcgen::Error },
    #[error("{key} is not the key of the first certificate in {chain}")]
    OtherKey { key: String, chain: String },
    #[error("cannot sign a certificate: {0}")]
    Sign(rcgen::Error),
    #[error("the issuer's certificate, or one that it depends on, expired at {0}")]
    Expired(OffsetDateTime),
    #[error("certificates of the issuer in {chain} cannot be verified against {anchors}: {error}")]
    NotTrusted { chain: String, anchors: String, error: webpki::Error },
}

/// A certificate of a workload.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) der: CertificateDer<'static>,
    pub(super) expires: OffsetDateTime,
}

impl Issuer {
    /// Reads an issuer and checks that it works.
    pub(super) fn read(pem: &Pem<'_>, clock_skew: Duration) -> Result<Self, IssuerError> {
        let anchors = certificates(pem.anchors)?;
        let chain = certificates(pem.chain)?;
        let (key_file, key) = pem.key;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| IssuerError::Pem { file: key_file.to_owned(), error })?;
        let unusable = |error| IssuerError::Key { file: key_file.to_owned(), error };
        let key = KeyPair::try_from(&key).map_err(unusable)?;
        let own = parse(pem.chain.0, &chain[0])?;
        if own.public_key().raw != key.subject_public_key_info() {
            return Err(IssuerError::OtherKey { key: key_file.to_owned(), chain: pem.chain.0.to_owned() });
        }
        let anchors_expire = first_expiry(pem.anchors.0, &anchors)?;
        let expires = expires(pem, &chain, &anchors)?;
        let signer = Signer::from_ca_cert_der(&chain[0], key).map_err(unusable)?;
        let issuer = Self { signer, chain, anchors, expires, anchors_expire, clock_skew };
        issuer.check()?.map_err(|error| IssuerError::NotTrusted {
            chain: pem.chain.0.to_owned(),
            anchors: pem.anchors.0.to_owned(),
            error,
        })?;
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
        params.not_before = now - self.clock_skew;
        params.not_after = (now + lifetime + self.clock_skew).min(self.expires);
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

    /// The trust anchors as PEM.
    pub(super) fn anchors_pem(&self) -> String {
        self.anchors.iter().map(pem).collect()
    }

    /// When the first trust anchor expires.
    pub(super) fn anchors_expire(&self) -> OffsetDateTime {
        self.anchors_expire
    }

    /// Signs a certificate and verifies it as a peer would, so that a mistake in the issuer shows now and not later on
    /// the nodes.
    fn check(&self) -> Result<Result<(), webpki::Error>, IssuerError> {
        let key = KeyPair::generate().map_err(IssuerError::Sign)?;
        let leaf = self.sign("check.invalid", &key, CHECK_LIFETIME, OffsetDateTime::now_utc())?;
        Ok(self.verify(&leaf))
    }

    fn verify(&self, leaf: &Leaf) -> Result<(), webpki::Error> {
        let anchors: Vec<_> =
            self.anchors.iter().map(webpki::anchor_from_trusted_cert).collect::<Result<_, _>>()?;
        webpki::EndEntityCert::try_from(&leaf.der)?
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &self.chain,
                UnixTime::now(),
                webpki::KeyUsage::client_auth(),
                None,
                None,
            )
            .map(|_| ())
    }
}

const CHECK_LIFETIME: Duration = Duration::from_secs(20);

fn certificates((file, pem): (&str, &[u8])) -> Result<Vec<CertificateDer<'static>>, IssuerError> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| IssuerError::Pem { file: file.to_owned(), error })?;
    if all.is_empty() { Err(IssuerError::Empty(file.to_owned())) } else { Ok(all) }
}

fn parse<'a>(file: &str, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IssuerError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| IssuerError::Certificate { file: file.to_owned(), error: error.to_string() })
}

/// When the first of these certificates expires.
fn first_expiry(file: &str, all: &[CertificateDer<'_>]) -> Result<OffsetDateTime, IssuerError> {
    let mut first = None;
    for der in all {
        let until = parse(file, der)?.validity().not_after.to_datetime();
        first = Some(first.map_or(until, |first: OffsetDateTime| first.min(until)));
    }
    first.ok_or_else(|| IssuerError::Empty(file.to_owned()))
}

/// The time when the first certificate of the chain expires, or the last of the anchors that could have signed it.
fn expires(
    pem: &Pem<'_>,
    chain: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'_>],
) -> Result<OffsetDateTime, IssuerError> {
    let mut roots = None;
    for der in chain {
        let certificate = parse(pem.chain.0, der)?;
        for anchor in anchors {
            let anchor = parse(pem.anchors.0, anchor)?;
            if anchor.subject().as_raw() == certificate.issuer().as_raw() {
                let until = anchor.validity().not_after.to_datetime();
                roots = Some(roots.map_or(until, |roots: OffsetDateTime| roots.max(until)));
            }
        }
    }
    let first = first_expiry(pem.chain.0, chain)?;
    Ok(roots.map_or(first, |roots| first.min(roots)))
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        // Writing to a String cannot fail.
        let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn serial_number() -> SerialNumber {
    // Positive, at most 20 bytes and unpredictable, as RFC 5280 and the CA/Browser Forum require.
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}
