//! A certificate authority for tests.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use super::{Anchors, Credential, Identity};

/// A CA for tests.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(ca_params(name), KeyPair::generate().unwrap()).unwrap())
    }

    /// A CA under this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        Self(CertifiedIssuer::signed_by(ca_params(name), KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::from_pem(self.pem().as_bytes()).unwrap()
    }

    /// A certificate with these names for a key of its own.
    pub(crate) fn leaf(
        &self,
        names: &[&str],
        lifetime: Duration,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = leaf_params(names, lifetime).signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    /// A credential that trusts this CA only.
    pub(crate) fn credential(&self, identity: &str) -> Credential {
        self.credential_for(identity, Duration::from_secs(3600))
    }

    pub(crate) fn credential_for(&self, identity: &str, lifetime: Duration) -> Credential {
        let (leaf, key) = self.leaf(&[identity], lifetime);
        Credential::new(identity.parse().unwrap(), vec![leaf], key, &self.anchors()).unwrap()
    }

    /// What `Certify` does: DNS name as asked for, everything else as the CA wants.
    pub(crate) fn sign(&self, request: &[u8], lifetime: Duration) -> CertificateDer<'static> {
        let request = CertificateSigningRequestParams::from_der(&request.into()).unwrap();
        let names = names_of(&request.params);
        let params = leaf_params(names, lifetime);
        params.signed_by(&request.public_key, &self.0).unwrap().der().clone()
    }
}

pub(crate) fn identity(name: &str) -> Identity {
    format!("{name}.default.serviceaccount.identity.linkerd.cluster.local").parse().unwrap()
}

/// The DNS names of a signing request.
pub(crate) fn names_of(params: &CertificateParams) -> Vec<String> {
    let dns = |san: &rcgen::SanType| match san {
        rcgen::SanType::DnsName(name) => name.to_string(),
        other => panic!("{other:?} was not asked for"),
    };
    params.subject_alt_names.iter().map(dns).collect()
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(names: Vec<String>, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(20);
    params.not_after = OffsetDateTime::now_utc() + lifetime;
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}
