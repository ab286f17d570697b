//! Connects to one replica over TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, client::Resumption};
use rustls_pki_types::ServerName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use weft_api::secure::{self, Connector};

use super::{
    cut::CutConnector,
    remember::{Proven, Remembering},
};
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

/// A channel to one replica.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) channel: Channel,
    pub(super) proven: Proven,
    /// Cancelled to end it with all its streams.
    pub(super) cut: CancellationToken,
}

impl TlsSettings {
    /// A channel that connects when first used, and again whenever the connection breaks.
    ///
    /// # Errors
    /// The identity is no server's name.
    pub(super) fn connection(&self, address: SocketAddr) -> Result<Connection, secure::Error> {
        let server: ServerName<'static> = secure::server_name(self.identity.as_str())?;
        let (proven, cut) = (Proven::default(), CancellationToken::new());
        let (settings, remembered) = (self.clone(), proven.clone());
        let inner = Connector { address, server, config: move || settings.config(&remembered) };
        let connector = CutConnector { inner, cut: cut.clone() };
        let endpoint = Endpoint::from_shared(format!("https://{address}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true);
        Ok(Connection { channel: endpoint.connect_with_connector_lazy(connector), proven, cut })
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
            .with_custom_certificate_verifier(Arc::new(Remembering { verifier, proven: proven.clone() }))
            .with_no_client_auth();
        config.alpn_protocols = vec![secure::ALPN.to_vec()];
        // Each connection proves the certificate of today.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}
