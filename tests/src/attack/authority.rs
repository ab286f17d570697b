//! Certificate authorities and the certificates that they sign.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use time::OffsetDateTime;

/// The mesh's own issuer, or a foreign authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The certificates that are sent behind the leaf.
    chain: Vec<CertificateDer<'static>>,
    pub certificate_pem: String,
}

/// A certificate with its key and chain.
pub struct Leaf {
    /// Begins with the leaf.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Authority {
    /// The mesh's own issuer, read from weft-control's state directory.
    pub fn of_mesh(control_state: &Path) -> Result<Self> {
        let read = |file: &str| {
            let path = control_state.join(file);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let certificate_pem = read("issuer.pem")?;
        let key = KeyPair::from_pem(&read("issuer-key.pem")?).context("issuer-key.pem")?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).context("issuer.pem")?;
        let chain = CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).collect::<Result<_, _>>();
        Ok(Self { issuer, chain: chain.context("issuer.pem")?, certificate_pem })
    }

    /// A new authority that the mesh does not know, with any name.
    pub fn foreign(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key)?;
        let chain = vec![certificate.der().clone()];
        Ok(Self { certificate_pem: certificate.pem(), issuer: Issuer::new(params, key), chain })
    }

    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The authority's certificate, as a trust anchor.
    pub fn anchor(&self) -> Option<CertificateDer<'static>> {
        self.chain.first().cloned()
    }

    /// A certificate for `identity` that is valid now.
    pub fn leaf(&self, identity: &str) -> Result<Leaf> {
        let now = OffsetDateTime::now_utc();
        self.sign(identity, now - Duration::from_secs(60), now + Duration::from_secs(3600))
    }

    /// A certificate for `identity` that was valid until a minute ago.
    pub fn expired_leaf(&self, identity: &str) -> Result<Leaf> {
        let now = OffsetDateTime::now_utc();
        self.sign(identity, now - Duration::from_secs(3600), now - Duration::from_secs(60))
    }

    fn sign(&self, identity: &str, from: OffsetDateTime, to: OffsetDateTime) -> Result<Leaf> {
        let mut params = CertificateParams::new(vec![identity.to_owned()])?;
        params.not_before = from;
        params.not_after = to;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let chain = [leaf.der().clone()].into_iter().chain(self.chain.iter().cloned()).collect();
        Ok(Leaf { chain, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() })
    }
}
