//! Requests certificates of the identity service.

use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use weft_api::linkerd::identity::{CertifyRequest, identity_client::IdentityClient};

use crate::grpc;

/// Requests a certificate for `identity` with `token`, of the control plane whose state folder this is.
pub fn certify(control: &Path, identity: &str, token: &[u8]) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![identity.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let request = CertifyRequest {
        identity: identity.to_owned(),
        token: token.to_vec(),
        certificate_signing_request: params.serialize_request(&key)?.der().to_vec(),
    };
    grpc::call(control, async |channel| {
        IdentityClient::new(channel).certify(request).await.context("Certify")?;
        Ok(())
    })
}
