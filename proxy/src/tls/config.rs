//! How are rustls's client and server set up?

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{Resumption, VerifierBuilderError},
    crypto::aws_lc_rs::Ticketer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};

use super::{
    provider::{ALPN_TCP, VERSIONS, provider},
    verify::ServerVerifier,
};

/// No TLS configuration can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is nothing to verify peers with.
    #[error("trust anchors: {0}")]
    Anchors(#[from] VerifierBuilderError),
    /// Should not happen: the provider lacks something.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// For connections that we open.
pub(crate) fn client(
    servers: Arc<ServerVerifier>,
    own: Arc<SingleCertAndKey>,
) -> Result<ClientConfig, ConfigError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(servers)
        .with_client_cert_resolver(own);
    config.alpn_protocols = vec![ALPN_TCP.to_vec()];
    // Each connection gets the tickets of its endpoint.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// For connections that we accept.
pub(crate) fn server(
    clients: Arc<dyn ClientCertVerifier>,
    own: Arc<SingleCertAndKey>,
) -> Result<ServerConfig, ConfigError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(own);
    config.alpn_protocols = vec![ALPN_TCP.to_vec()];
    // Stateless tickets: nothing that clients could fill. Their key lives as long as this configuration, so a
    // new certificate or new anchors end all sessions.
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Judges the certificates of clients.
pub(crate) fn client_verifier(
    roots: Arc<RootCertStore>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        // Whether a client without a certificate may go on is policy's decision.
        .allow_unauthenticated()
        // A client with a foreign certificate is to send it and be refused, not to come as nobody because none
        // of its issuers is in the list.
        .clear_root_hint_subjects()
        .build()
}
