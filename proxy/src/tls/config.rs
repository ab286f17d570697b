//! The rustls configurations of clients and servers.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{Resumption, VerifierBuilderError},
    crypto::aws_lc_rs::Ticketer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};

use super::{
    provider::{Inner, VERSIONS, provider},
    verify::ServerVerifier,
};

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The trust anchors cannot be used to verify peers.
    #[error("trust anchors: {0}")]
    Anchors(#[from] VerifierBuilderError),
    /// The provider lacks something; should not happen.
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
    // Each connection sets what it carries, and replaces this by the tickets of its endpoint.
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
    config.alpn_protocols = Inner::ALL.map(|inner| inner.alpn().to_vec()).to_vec();
    // Stateless tickets: there is no table that clients could fill. Their key lives as long as this configuration, so
    // a new certificate or new anchors end all sessions.
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// For connections to opaque ports: bytes that nobody interprets come first, as far as the client offers them.
pub(crate) fn opaque(server: &ServerConfig) -> ServerConfig {
    let mut config = server.clone();
    let tcp = Inner::Tcp.alpn();
    config.alpn_protocols.sort_by_key(|name| name != tcp);
    config
}

/// Verifies the certificates of clients.
pub(crate) fn client_verifier(
    roots: Arc<RootCertStore>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        // Policy decides whether a client without a certificate may go on.
        .allow_unauthenticated()
        // With a list of issuers, a client whose certificate is from another one would send none and pass as
        // unauthenticated. Without the list it sends its certificate and is refused.
        .clear_root_hint_subjects()
        .build()
}
