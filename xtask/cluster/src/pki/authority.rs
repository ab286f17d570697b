//! A certificate authority and what it issues.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// A certificate and its key, as PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Whom a certificate names. Kubernetes reads the organization as group.
pub(super) struct Subject<'a> {
    pub(super) user: &'a str,
    pub(super) group: &'a str,
    /// DNS names and addresses.
    pub(super) names: &'a [&'a str],
    pub(super) usage: ExtendedKeyUsagePurpose,
}

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pair: Pair,
}

/// A cluster that lives longer is started anew.
const LIFETIME: Duration = Duration::days(365);

impl Authority {
    pub(super) fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = params(name, "", &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let pair = Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() };
        Ok(Self { issuer: Issuer::new(params, key), pair })
    }

    pub(super) fn pair(&self) -> &Pair {
        &self.pair
    }

    pub(super) fn issue(&self, subject: &Subject<'_>) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = params(subject.user, subject.group, subject.names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![subject.usage.clone()];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn params(user: &str, group: &str, names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    if !group.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    let now = OffsetDateTime::now_utc();
    // The clocks of other machines may be behind.
    params.not_before = now - Duration::hours(1);
    params.not_after = now + LIFETIME;
    Ok(params)
}
