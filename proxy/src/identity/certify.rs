//! Requests a certificate from the control plane.

use std::{path::Path, time::Duration};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use weft_api::linkerd::identity::{CertifyRequest, identity_client::IdentityClient};

use crate::{
    control::{Client, describe},
    tls::{self, Anchors, Credential, CredentialError, Identity, TlsError},
};

/// Why no certificate was obtained.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertifyError {
    #[error("failed to read the service account token: {0}")]
    Token(std::io::Error),
    #[error("failed to create a key or signing request: {0}")]
    Request(#[from] rcgen::Error),
    #[error("the control plane did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
    #[error("the control plane refused: {}", describe(.0))]
    Status(Box<tonic::Status>),
    #[error("invalid answer from the control plane: {0}")]
    Answer(#[from] CredentialError),
}

/// Requests a certificate for a new key, and verifies it.
pub(super) async fn certify(
    control: &Client,
    token_file: &Path,
    identity: &Identity,
    anchors: &Anchors,
) -> Result<CertifiedKey, CertifyError> {
    // The token is read each time: the kubelet replaces it before it expires.
    let token = tokio::fs::read(token_file).await.map_err(CertifyError::Token)?;
    // A new key each time: a stolen key is of no use after its certificate has expired.
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let request = CertifyRequest {
        identity: identity.to_string(),
        token: token.trim_ascii().to_vec(),
        certificate_signing_request: signing_request(identity, &key)?,
    };
    let mut client = IdentityClient::new(control.clone()).max_decoding_message_size(MAX_ANSWER);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.certify(request))
        .await
        .map_err(|_| CertifyError::Timeout)?
        .map_err(|status| CertifyError::Status(Box::new(status)))?
        .into_inner();

    let chain: Vec<CertificateDer<'static>> = std::iter::once(answer.leaf_certificate)
        .chain(answer.intermediate_certificates)
        .map(CertificateDer::from)
        .collect();
    Credential::verify(identity, &chain, anchors)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = tls::provider().key_provider.load_private_key(key).map_err(unusable)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| CredentialError::OtherKey)?;
    Ok(certified)
}

/// The signing request as DER, with exactly one DNS name: Linkerd's identity service refuses anything else.
fn signing_request(identity: &Identity, key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::new(vec![identity.to_string()])?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

fn unusable(error: rustls::Error) -> CredentialError {
    TlsError::from(error).into()
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A chain is a few KiB.
const MAX_ANSWER: usize = 256 * 1024;
