//! Makes a certificate authority for a new installation.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

const ROOT_LIFETIME: Duration = Duration::days(10 * 365);
const ISSUER_LIFETIME: Duration = Duration::days(365);
const CLOCK_SKEW: Duration = Duration::seconds(20);

/// A trust anchor, and an issuer that it has signed, all as PEM.
pub(crate) struct Authority {
    pub(crate) anchors: String,
    pub(crate) issuer: String,
    pub(crate) key: String,
}

/// Makes an authority for the mesh of a control plane. The root's private key is not kept: another issuer needs another
/// root, and both roots are trusted while they change.
pub(crate) fn create(namespace: &str, trust_domain: &str) -> Result<Authority> {
    let make = || -> Result<Authority, rcgen::Error> {
        let now = OffsetDateTime::now_utc();
        let domain = format!("{namespace}.{trust_domain}");
        let root = parameters(&format!("root.{domain}"), now, ROOT_LIFETIME, 1);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let issuer =
            parameters(&format!("identity.{domain}"), now, ISSUER_LIFETIME, 0).signed_by(&key, &root)?;
        Ok(Authority { anchors: root.pem(), issuer: issuer.pem(), key: key.serialize_pem() })
    };
    make().context("cannot make a certificate authority for the mesh")
}

fn parameters(name: &str, now: OffsetDateTime, lifetime: Duration, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + lifetime;
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{key_belongs_to, read};

    #[test]
    fn the_issuer_is_signed_by_the_anchor_and_has_the_key() {
        let authority = create("weft", "cluster.local").unwrap();
        let anchors = read(&authority.anchors).unwrap();
        let issuer = read(&authority.issuer).unwrap();
        assert_eq!(anchors[0].name(), "root.weft.cluster.local");
        assert_eq!(issuer[0].name(), "identity.weft.cluster.local");
        assert!(issuer[0].is_issued_by_one_of(&anchors) && issuer[0].is_authority());
        assert!(key_belongs_to(&authority.key, &issuer[0]).unwrap());
        let other = create("weft", "cluster.local").unwrap();
        assert!(!issuer[0].is_issued_by_one_of(&read(&other.anchors).unwrap()));
        assert!(!key_belongs_to(&other.key, &issuer[0]).unwrap());
    }
}
