//! An identity's certificate and key, ready for TLS.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    ClientConfig, InconsistentKeys, RootCertStore, ServerConfig,
    server::danger::ClientCertVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::{
    Anchors, ConfigError, Facts, Identity, ServerVerifier, Sessions, TlsError, all_current, config, provider,
};

/// An identity's certificate and key with the anchors of the moment, ready for use.
///
/// The state for resuming sessions belongs to it: a new certificate, or new anchors, begin with none.
#[derive(Debug)]
pub struct Credential {
    /// Whose it is.
    pub identity: Identity,
    /// For connections that this workload opens.
    pub client: Arc<ClientConfig>,
    /// For connections to this workload.
    pub server: Arc<ServerConfig>,
    /// The same, to its opaque ports.
    pub opaque: Arc<ServerConfig>,
    /// What peers are shown: its own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// When the certificate (and every one that it depends on) begins to be valid.
    pub starts: SystemTime,
    /// When the certificate (or one that it depends on) ends.
    pub expires: SystemTime,
    anchors: Anchors,
    servers: Arc<ServerVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
    sessions: Sessions,
}

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// It does not chain to the anchors, is not valid now, or belongs to somebody else.
    #[error(transparent)]
    Refused(#[from] TlsError),
    /// It is for another key.
    #[error("the certificate is not for our key")]
    OtherKey,
    /// No configuration can be made of it.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Credential {
    /// Whether others whose clock says this will take it.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        (self.starts..self.expires).contains(&now)
    }

    /// Makes a credential of a certificate chain (own certificate first) and its key.
    ///
    /// The chain is not verified: peers will do that, and a certificate that was good stays in use until it
    /// expires. [`Self::verify`] tells whether peers with the same anchors will accept it.
    pub fn new(
        identity: Identity,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        anchors: &Anchors,
    ) -> Result<Self, CredentialError> {
        let signing = provider().key_provider.load_private_key(key).map_err(TlsError::from)?;
        Self::assemble(identity, CertifiedKey::new(chain, signing), anchors)
    }

    pub(crate) fn assemble(
        identity: Identity,
        certified: CertifiedKey,
        anchors: &Anchors,
    ) -> Result<Self, CredentialError> {
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(CredentialError::OtherKey);
            }
            Err(error) => return Err(TlsError::from(error).into()),
        }
        let (starts, expires) = validity(&certified.cert)?;
        let servers = ServerVerifier::new(anchors.roots(), None).map_err(ConfigError::from)?;
        let clients = config::client_verifier(anchors.roots()).map_err(ConfigError::from)?;
        let chain = certified.cert.clone();
        let own = Arc::new(SingleCertAndKey::from(certified));
        let server = config::server(clients.clone(), own.clone())?;
        Ok(Self {
            identity,
            client: Arc::new(config::client(servers.clone(), own)?),
            opaque: Arc::new(config::opaque(&server)),
            server: Arc::new(server),
            chain,
            starts,
            expires,
            anchors: anchors.clone(),
            servers,
            clients,
            sessions: Sessions::default(),
        })
    }

    /// Would a peer with these anchors accept `chain` as `identity`, as a client and as a server?
    pub(crate) fn verify(
        identity: &Identity,
        chain: &[CertificateDer<'static>],
        anchors: &Anchors,
    ) -> Result<(), CredentialError> {
        let no_certificate = || TlsError::from(rustls::Error::NoCertificatesPresented);
        let leaf = chain.first().ok_or_else(no_certificate)?;
        let now = UnixTime::now();
        let servers = ServerVerifier::new(anchors.roots(), None).map_err(ConfigError::from)?;
        servers.verify_chain(leaf, &chain[1..], now).map_err(TlsError::from)?;
        let clients = config::client_verifier(anchors.roots()).map_err(ConfigError::from)?;
        clients.verify_client_cert(leaf, &chain[1..], now).map_err(TlsError::from)?;
        let facts = Facts::of(leaf).map_err(TlsError::from)?;
        // The first name is the one that a server takes for the client's.
        if facts.identity() != Some(identity) {
            return Err(TlsError::BadName { expected: identity.to_string(), presented: facts.names }.into());
        }
        Ok(())
    }

    /// A resumed session shows certificates from when it was made. Its signatures were verified then, against
    /// these same anchors; only the time has changed. If that is not all well, the whole chain is looked at again.
    pub(crate) fn recheck_client(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match chain {
            [leaf, issuers @ ..] if !all_current(chain, now)? => {
                self.clients.verify_client_cert(leaf, issuers, now).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// The same for a server.
    pub(crate) fn recheck_server(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match chain {
            [leaf, issuers @ ..] if !all_current(chain, now)? => {
                self.servers.verify_chain(leaf, issuers, now)
            }
            _ => Ok(()),
        }
    }

    /// For a server that speaks one protocol and knows its clients: they connect rarely, and show their certificate each
    /// time.
    pub(crate) fn server_for(&self, alpn: &[u8]) -> Arc<ServerConfig> {
        let mut config = (*self.server).clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        self.anchors.roots()
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

/// The first moment at which all certificates of the chain are valid, and the first at which one is not any more.
fn validity(chain: &[CertificateDer<'_>]) -> Result<(SystemTime, SystemTime), TlsError> {
    let (mut starts, mut ends) = (0, i64::MAX);
    for certificate in chain {
        let valid = Facts::of(certificate)?.valid;
        starts = starts.max(*valid.start());
        ends = ends.min(*valid.end());
    }
    let at = |seconds: u64| {
        let bad = || rustls::Error::from(rustls::CertificateError::BadEncoding);
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or_else(bad)
    };
    let ends = u64::try_from(ends).unwrap_or(0).saturating_add(1);
    Ok((at(u64::try_from(starts).unwrap_or(0))?, at(ends)?))
}
