//! Remembers the certificates that a server has proven, to check them again when the trust anchors change.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::tls::{Anchors, ServerVerifier};

/// The chain that the server has proven at the last handshake.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<Mutex<Vec<CertificateDer<'static>>>>);

/// A verifier that remembers the chain that it has accepted.
#[derive(Debug)]
pub(super) struct Remembering {
    pub(super) verifier: Arc<ServerVerifier>,
    pub(super) proven: Proven,
}

impl Proven {
    /// Whether the proven chain, if any, is still accepted with these anchors.
    pub(super) fn holds_under(&self, anchors: &Anchors) -> bool {
        let chain = self.0.lock().clone();
        let Some((leaf, intermediates)) = chain.split_first() else { return true };
        ServerVerifier::new(anchors.roots(), None)
            .is_ok_and(|verifier| verifier.verify_chain(leaf, intermediates, UnixTime::now()).is_ok())
    }
}

impl ServerCertVerifier for Remembering {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(leaf, intermediates, name, ocsp, now)?;
        let chain = std::iter::once(leaf).chain(intermediates);
        *self.proven.0.lock() = chain.map(|der| der.clone().into_owned()).collect();
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
