//! Reads names and validity from certificates, and verifies servers.

use std::{cell::RefCell, collections::HashMap, ops::RangeInclusive, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Error};

use super::{Identity, provider::provider};

/// What weft reads from a certificate that was verified, or will be.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The DNS and URI names in their order; `None` for a name that is not an identity.
    identities: Vec<Option<Identity>>,
    /// The same names as text.
    pub(crate) names: Vec<String>,
    /// Seconds since the epoch, both ends included.
    pub(crate) valid: RangeInclusive<i64>,
}

thread_local! {
    /// The certificates that this thread has read lately: a node has few peers, and they connect often.
    static READ: RefCell<HashMap<Vec<u8>, Arc<Facts>>> = RefCell::default();
}

impl Facts {
    /// The same as [`Self::of`], but cached by thread. Only for certificates that were verified, so that nobody else can
    /// fill the cache.
    pub(super) fn of_verified(certificate: &CertificateDer<'_>) -> Result<Arc<Self>, rustls::Error> {
        READ.with_borrow_mut(|read| {
            if let Some(facts) = read.get(certificate.as_ref()) {
                return Ok(facts.clone());
            }
            let facts = Arc::new(Self::of(certificate)?);
            if certificate.len() > MAX_CERTIFICATE {
                return Ok(facts);
            }
            if read.len() >= MAX_READ {
                read.clear();
            }
            read.insert(certificate.to_vec(), facts.clone());
            Ok(facts)
        })
    }

    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let bad = |_: X509Error| rustls::Error::from(CertificateError::BadEncoding);
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| bad(error.into()))?;
        let san = parsed.subject_alternative_name().map_err(bad)?;
        let (mut identities, mut names) = (Vec::new(), Vec::new());
        for name in san.iter().flat_map(|san| &san.value.general_names) {
            let (text, is_uri) = match name {
                GeneralName::DNSName(text) => (*text, false),
                GeneralName::URI(text) => (*text, true),
                _ => continue,
            };
            identities.push(text.parse().ok().filter(|identity: &Identity| identity.is_uri() == is_uri));
            names.push(text.to_owned());
        }
        let validity = parsed.validity();
        let valid = validity.not_before.timestamp()..=validity.not_after.timestamp();
        Ok(Self { identities, names, valid })
    }

    /// The first DNS or URI name, which Linkerd's proxies take for the identity too.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identities.first()?.as_ref()
    }

    /// Whether it has exactly this name; a wildcard that covers it does not count.
    pub(crate) fn names(&self, identity: &Identity) -> bool {
        self.identities.iter().flatten().any(|held| held == identity)
    }
}

/// Whether all certificates of a chain are valid at `now`, by their dates alone.
pub(crate) fn all_current(chain: &[CertificateDer<'_>], now: UnixTime) -> Result<bool, rustls::Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    for certificate in chain {
        if !Facts::of_verified(certificate)?.valid.contains(&now) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Accepts a server whose certificate chains to the anchors and holds the identity exactly.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    roots: Arc<RootCertStore>,
    /// Checks that the server has the certificate's key.
    signatures: Arc<WebPkiServerVerifier>,
    /// The identity that the server must have, if it differs from SNI.
    expected: Option<Identity>,
}

impl ServerVerifier {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        expected: Option<Identity>,
    ) -> Result<Arc<Self>, VerifierBuilderError> {
        let signatures = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider()).build()?;
        Ok(Arc::new(Self { roots, signatures, expected }))
    }

    /// Verifies the chain, not the name.
    pub(crate) fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let algorithms = provider().signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify_chain(leaf, intermediates, now)?;
        let facts = Facts::of_verified(leaf)?;
        let holds = match &self.expected {
            Some(expected) => facts.names(expected),
            None => server_name.to_str().parse().is_ok_and(|name| facts.names(&name)),
        };
        if holds {
            return Ok(ServerCertVerified::assertion());
        }
        let expected = server_name.to_owned();
        Err(CertificateError::NotValidForNameContext { expected, presented: facts.names.clone() }.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}

/// Entries of a thread's cache, about a kilobyte each.
const MAX_READ: usize = 256;
/// Larger certificates are not cached, so that bytes appended to a verified one cannot fill the memory.
const MAX_CERTIFICATE: usize = 4096;
