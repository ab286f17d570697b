//! Creates a certificate authority on the first start.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::files::{ANCHORS, CertificateAuthorityError, ISSUER, ISSUER_KEY};
use crate::{mesh::Mesh, state};

const ROOT_LIFETIME: Duration = Duration::days(10 * 365);
const ISSUER_LIFETIME: Duration = Duration::days(365);
const CLOCK_SKEW: Duration = Duration::seconds(20);

/// Creates an authority in `folder` if none of its files exists. If some exist, an operator has to decide.
///
/// The root's private key is not kept. Another issuer therefore needs a new root, and both roots are trusted during the
/// rotation.
pub(super) fn if_absent(folder: &Path, mesh: &Mesh) -> Result<(), CertificateAuthorityError> {
    let missing: Vec<_> =
        [ANCHORS, ISSUER, ISSUER_KEY].into_iter().filter(|name| !folder.join(name).exists()).collect();
    match missing[..] {
        [] => Ok(()),
        [_, _, _] => create(folder, mesh),
        [first, ..] => Err(CertificateAuthorityError::Incomplete { missing: folder.join(first) }),
    }
}

fn create(folder: &Path, mesh: &Mesh) -> Result<(), CertificateAuthorityError> {
    let now = OffsetDateTime::now_utc();
    let domain = format!("{}.{}", mesh.control_plane_namespace, mesh.trust_domain);
    let root_key = KeyPair::generate().map_err(CertificateAuthorityError::Create)?;
    let root = parameters(&format!("root.{domain}"), now, ROOT_LIFETIME, 1);
    let root = CertifiedIssuer::self_signed(root, root_key).map_err(CertificateAuthorityError::Create)?;
    let issuer_key = KeyPair::generate().map_err(CertificateAuthorityError::Create)?;
    let issuer = parameters(&format!("identity.{domain}"), now, ISSUER_LIFETIME, 0);
    let issuer = issuer.signed_by(&issuer_key, &root).map_err(CertificateAuthorityError::Create)?;

    // The key is written first and the anchors last: an incomplete authority always shows.
    for (name, pem, mode) in [
        (ISSUER_KEY, issuer_key.serialize_pem(), 0o600),
        (ISSUER, issuer.pem(), 0o644),
        (ANCHORS, root.pem(), 0o644),
    ] {
        let path = folder.join(name);
        state::write(&path, pem.as_bytes(), mode).map_err(|error| {
            // What stayed would be an incomplete authority at the next start.
            for name in [ISSUER_KEY, ISSUER] {
                let _ = fs::remove_file(folder.join(name));
            }
            CertificateAuthorityError::File { path, error }
        })?;
    }
    tracing::info!(folder = %folder.display(), "created a certificate authority for the mesh");
    Ok(())
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
