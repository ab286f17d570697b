//! Connects to one replica over TLS, and remembers the certificate that it proved.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustls::{ClientConfig, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use weft_api::secure::{self, Connector};

use crate::tls::{Anchors, Identity, ServerVerifier, VERSIONS, provider};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long connecting and the handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whom the proxy trusts as the control plane.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The trust anchors, which may change.
    pub anchors: watch::Receiver<Option<Anchors>>,
    /// The identity of the control plane. No other one will do, even of the same mesh.
    pub identity: Identity,
}

/// The chain that the server has proven at the last handshake.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<Mutex<Vec<CertificateDer<'static>>>>);

impl TlsSettings {
    /// A channel that connects when first used, and again whenever the connection breaks.
    ///
    /// # Errors
    /// The identity is no server's name.
    pub(super) fn channel(&self, address: SocketAddr, proven: Proven) -> Result<Channel, secure::Error> {
        let server: ServerName<'static> = secure::server_name(self.identity.as_str())?;
        let settings = self.clone();
        let connector = Connector { address, server, config: move || settings.config(&proven) };
        let endpoint = Endpoint::from_shared(format!("https://{address}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true);
        Ok(endpoint.connect_with_connector_lazy(connector))
    }

    /// Made for each connection, with the anchors of that moment.
    fn config(&self, proven: &Proven) -> Result<Arc<ClientConfig>, BoxError> {
        let Some(anchors) = self.anchors.borrow().clone() else {
            return Err("there are no trust anchors yet".into());
        };
        let verifier = ServerVerifier::new(anchors.roots(), Some(self.identity.clone()))?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(proven.remembering(verifier)))
            .with_no_client_auth();
        config.alpn_protocols = vec![secure::ALPN.to_vec()];
        // Each connection proves the certificate of today.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

impl Proven {
    /// Whether the proven chain, if any, still holds under these anchors.
    pub(super) fn holds_under(&self, anchors: &Anchors) -> bool {
        let chain = self.0.lock().clone();
        let Some((leaf, intermediates)) = chain.split_first() else { return true };
        let now = rustls_pki_types::UnixTime::now();
        ServerVerifier::new(anchors.roots(), None)
            .is_ok_and(|verifier| verifier.verify_chain(leaf, intermediates, now).is_ok())
    }

    fn remembering(&self, verifier: Arc<ServerVerifier>) -> remember::Remembering {
        remember::Remembering { verifier, proven: self.clone() }
    }

    fn set(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) {
        let chain = std::iter::once(leaf).chain(intermediates);
        *self.0.lock() = chain.map(|der| der.clone().into_owned()).collect();
    }
}

mod remember {
    //! A verifier that remembers the chains that it has accepted.

    use std::sync::Arc;

    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    };
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    use super::Proven;
    use crate::tls::ServerVerifier;

    #[derive(Debug)]
    pub(super) struct Remembering {
        pub(super) verifier: Arc<ServerVerifier>,
        pub(super) proven: Proven,
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
            self.proven.set(leaf, intermediates);
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
}
