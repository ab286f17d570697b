//! Reads certificates, and answers what the commands ask of them.

use anyhow::{Context, Result, anyhow, bail};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use x509_parser::{
    certificate::X509Certificate,
    prelude::{FromDer, GeneralName},
    public_key::PublicKey,
};

/// As many as a bundle of trust anchors may have.
const MAX_CERTIFICATES: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
}

/// The certificates in a PEM text: at least one, all readable.
pub(crate) fn read(pem: &str) -> Result<Vec<Certificate>> {
    let mut all = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = der.map_err(|error| anyhow!("this is no valid PEM: {error}"))?;
        all.push(Certificate::new(der)?);
        if all.len() > MAX_CERTIFICATES {
            bail!("there are more than {MAX_CERTIFICATES} certificates");
        }
    }
    if all.is_empty() {
        bail!("there is no certificate (a block that begins with -----BEGIN CERTIFICATE-----)");
    }
    Ok(all)
}

/// Whether a private key (PEM) is the certificate's.
pub(crate) fn key_belongs_to(key: &str, certificate: &Certificate) -> Result<bool> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("this is no private key as PEM")?;
    let key = KeyPair::try_from(&key).context("this private key is of a kind that cannot sign")?;
    Ok(certificate.with(|parsed| parsed.public_key().raw == key.subject_public_key_info()))
}

impl Certificate {
    pub(crate) fn new(der: CertificateDer<'static>) -> Result<Self> {
        X509Certificate::from_der(&der).map_err(|error| anyhow!("this is no valid certificate: {error}"))?;
        Ok(Self { der })
    }

    /// The common name, or else the first DNS or URI name.
    pub(crate) fn name(&self) -> String {
        self.with(|parsed| {
            let common = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
            common
                .map(str::to_owned)
                .or_else(|| names(parsed).into_iter().next())
                .unwrap_or_else(|| "(no name)".to_owned())
        })
    }

    pub(crate) fn issuer(&self) -> String {
        self.with(|parsed| {
            let common = parsed.issuer().iter_common_name().next().and_then(|name| name.as_str().ok());
            common.map_or_else(|| parsed.issuer().to_string(), str::to_owned)
        })
    }

    pub(crate) fn serial(&self) -> String {
        self.with(|parsed| parsed.raw_serial_as_string())
    }

    pub(crate) fn is_authority(&self) -> bool {
        self.with(|parsed| parsed.is_ca())
    }

    pub(crate) fn not_before(&self) -> OffsetDateTime {
        self.with(|parsed| parsed.validity().not_before.to_datetime())
    }

    pub(crate) fn not_after(&self) -> OffsetDateTime {
        self.with(|parsed| parsed.validity().not_after.to_datetime())
    }

    /// Whether one of `authorities` has signed it.
    pub(crate) fn is_issued_by_one_of(&self, authorities: &[Self]) -> bool {
        self.with(|parsed| {
            authorities.iter().any(|authority| {
                authority.with(|authority| {
                    authority.subject().as_raw() == parsed.issuer().as_raw()
                        && parsed.verify_signature(Some(authority.public_key())).is_ok()
                })
            })
        })
    }

    /// Why its key or signature is of a kind that the mesh does not use.
    pub(crate) fn unsupported_algorithm(&self) -> Option<String> {
        const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
        const SHA256_RSA: &str = "1.2.840.113549.1.1.11";
        self.with(|parsed| {
            match parsed.public_key().parsed() {
                Ok(PublicKey::EC(point)) if point.key_size() == 256 => {}
                Ok(PublicKey::RSA(key)) if key.key_size() >= 2048 => {}
                Ok(PublicKey::EC(point)) => {
                    return Some(format!(
                        "must use P-256 for its key, but uses a curve of {} bits",
                        point.key_size()
                    ));
                }
                Ok(PublicKey::RSA(key)) => {
                    return Some(format!(
                        "has an RSA key of {} bits; it needs at least 2048",
                        key.key_size()
                    ));
                }
                _ => return Some("must have an ECDSA P-256 or RSA key".to_owned()),
            }
            let signature = parsed.signature_algorithm.algorithm.to_id_string();
            (![ECDSA_SHA256, SHA256_RSA].contains(&signature.as_str())).then(|| {
                format!(
                    "must be signed by ECDSA or RSA with SHA-256, but its signature algorithm is {signature}"
                )
            })
        })
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
        let (_, parsed) = X509Certificate::from_der(&self.der).expect("`new` has read it");
        read(&parsed)
    }
}

/// A time for people: 2026-08-01T00:00:00Z.
pub(crate) fn format_time(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}
