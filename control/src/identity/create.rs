//! How does a mesh get its certificate authority on the first run?

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::authority::{ANCHORS, AuthorityError, ISSUER, ISSUER_KEY};
use crate::{index::Mesh, state};

const ROOT_LIFETIME: Duration = Duration::days(10 * 365);
const ISSUER_LIFETIME: Duration = Duration::days(365);
const CLOCK_SKEW: Duration = Duration::seconds(20);

/// Makes an authority in `folder` if there is nothing of one; part of one is an error that an operator has to resolve.
///
/// The root's private key is forgotten at once: whoever wants to sign another issuer brings a new root, and both are
/// trusted during the rotation.
pub(super) fn if_absent(folder: &Path, mesh: &Mesh) -> Result<(), AuthorityError> {
    let missing: Vec<_> =
        [ANCHORS, ISSUER, ISSUER_KEY].into_iter().filter(|name| !folder.join(name).exists()).collect();
    match missing[..] {
        [] => Ok(()),
        [_, _, _] => create(folder, mesh),
        [first, ..] => Err(AuthorityError::Incomplete { missing: folder.join(first) }),
    }
}

fn create(folder: &Path, mesh: &Mesh) -> Result<(), AuthorityError> {
    let now = OffsetDateTime::now_utc();
    let place = format!("{}.{}", mesh.control_plane_namespace, mesh.trust_domain);
    let root_key = KeyPair::generate().map_err(AuthorityError::Create)?;
    let root = authority(&format!("root.{place}"), now, ROOT_LIFETIME, 1);
    let root = CertifiedIssuer::self_signed(root, root_key).map_err(AuthorityError::Create)?;
    let issuer_key = KeyPair::generate().map_err(AuthorityError::Create)?;
    let issuer = authority(&format!("identity.{place}"), now, ISSUER_LIFETIME, 0);
    let issuer = issuer.signed_by(&issuer_key, &root).map_err(AuthorityError::Create)?;

    // The key first: without it a half-made authority cannot be taken for a whole one.
    for (name, pem, mode) in [
        (ISSUER_KEY, issuer_key.serialize_pem(), 0o600),
        (ISSUER, issuer.pem(), 0o644),
        (ANCHORS, root.pem(), 0o644),
    ] {
        let path = folder.join(name);
        state::write(&path, pem.as_bytes(), mode).map_err(|error| {
            // Nothing may stay that would be incomplete at the next start.
            for name in [ISSUER_KEY, ISSUER] {
                let _ = fs::remove_file(folder.join(name));
            }
            AuthorityError::File { path, error }
        })?;
    }
    tracing::info!(folder = %folder.display(), "made a certificate authority for the mesh");
    Ok(())
}

fn authority(name: &str, now: OffsetDateTime, lifetime: Duration, below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + lifetime;
    params
}
