//! Certificate authorities that a user brings.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A mesh's authority, as PEM. The root's key is thrown away.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) anchor: String,
    pub(crate) issuer: String,
    /// The issuer's.
    pub(crate) key: String,
}

impl Authority {
    /// A new one, valid for a year.
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let (anchor_key, issuer_key) = (KeyPair::generate()?, KeyPair::generate()?);
        let anchor_params = params("root.weft.cluster.local")?;
        let anchor = anchor_params.self_signed(&anchor_key)?;
        let issuer = params("identity.weft.cluster.local")?
            .signed_by(&issuer_key, &Issuer::new(anchor_params, anchor_key))?;
        Ok(Self { anchor: anchor.pem(), issuer: issuer.pem(), key: issuer_key.serialize_pem() })
    }
}

fn params(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = time::OffsetDateTime::now_utc();
    (params.not_before, params.not_after) =
        (now - time::Duration::minutes(1), now + time::Duration::days(365));
    Ok(params)
}
