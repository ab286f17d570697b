//! Checks certificate signing requests.

use rcgen::{CertificateSigningRequestParams, DnType, DnValue, PublicKey, SanType};
use rustls_pki_types::CertificateSigningRequestDer;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

#[derive(Debug, thiserror::Error)]
pub(super) enum CsrError {
    #[error("it cannot be read, or its signature is wrong: {0}")]
    Unreadable(String),
    #[error("its key is not ECDSA P-256")]
    Key,
    #[error("it must contain exactly one name, the DNS name {wanted}, but contains {found:?}")]
    Names { wanted: String, found: Vec<String> },
    #[error("its subject must be empty or the common name {0}")]
    Subject(String),
}

/// OID 1.2.840.10045.2.1, an elliptic-curve key.
const EC_KEY: &str = "1.2.840.10045.2.1";
/// OID 1.2.840.10045.3.1.7, the curve P-256.
const P256: &str = "1.2.840.10045.3.1.7";

/// The public key of a request (DER) for `identity` that also proves possession of the private key.
pub(super) fn public_key(csr: &[u8], identity: &str) -> Result<PublicKey, CsrError> {
    check_key(csr)?;
    let der = CertificateSigningRequestDer::from(csr);
    // This verifies the request's signature, too.
    let request = CertificateSigningRequestParams::from_der(&der)
        .map_err(|error| CsrError::Unreadable(error.to_string()))?;
    let names = &request.params.subject_alt_names;
    let is_wanted = |name: &SanType| matches!(name, SanType::DnsName(name) if name.as_str() == identity);
    if names.len() != 1 || !is_wanted(&names[0]) {
        return Err(CsrError::Names {
            wanted: identity.to_owned(),
            found: names.iter().map(|name| format!("{name:?}")).collect(),
        });
    }
    let is_allowed = |(kind, value): (&DnType, &DnValue)| {
        *kind == DnType::CommonName
            && match value {
                DnValue::Utf8String(name) => name == identity,
                DnValue::PrintableString(name) => name.as_str() == identity,
                _ => false,
            }
    };
    match request.params.distinguished_name.iter().all(is_allowed) {
        true => Ok(request.public_key),
        false => Err(CsrError::Subject(identity.to_owned())),
    }
}

fn check_key(csr: &[u8]) -> Result<(), CsrError> {
    let (rest, request) =
        X509CertificationRequest::from_der(csr).map_err(|error| CsrError::Unreadable(error.to_string()))?;
    if !rest.is_empty() {
        return Err(CsrError::Unreadable("there are bytes after its end".into()));
    }
    let key = &request.certification_request_info.subject_pki;
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let is_p256 = key.algorithm.algorithm.to_id_string() == EC_KEY
        && curve.is_some_and(|curve| curve.to_id_string() == P256);
    if is_p256 { Ok(()) } else { Err(CsrError::Key) }
}
