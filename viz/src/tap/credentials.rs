//! The certificate with which proxies are tapped: obtained from the control plane, and renewed.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use tokio::{net::lookup_host, sync::watch, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use weft_api::{
    linkerd::identity::{CertifyRequest, identity_client::IdentityClient},
    secure,
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const MIN_RETRY: Duration = Duration::from_millis(200);
const MAX_RETRY: Duration = Duration::from_secs(10);
/// How often the file of trust anchors is read.
const ANCHORS_INTERVAL: Duration = Duration::from_secs(2);
/// Files of tokens and anchors have a few KiB.
const MAX_FILE: u64 = 1 << 20;
/// A chain has a few KiB.
const MAX_ANSWER: usize = 256 << 10;

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub struct CredentialsConfig {
    /// HOST:PORT.
    pub control: String,
    pub control_identity: String,
    pub identity: String,
    pub token_file: PathBuf,
    pub trust_anchors: PathBuf,
}

/// A certificate that is kept fresh until this is dropped.
#[derive(Debug)]
pub struct Credentials {
    current: watch::Receiver<Option<Arc<ClientConfig>>>,
    _renewal: AbortOnDropHandle<()>,
}

/// Why there is no certificate. No variant holds the token.
#[derive(Debug, thiserror::Error)]
enum CredentialsError {
    #[error("cannot read {0}: {1}")]
    File(String, std::io::Error),
    #[error("cannot find {0}: {1}")]
    Lookup(String, std::io::Error),
    #[error("{0}")]
    Secure(#[from] secure::Error),
    #[error("the control plane refused: {0}")]
    Refused(String),
    #[error("the control plane did not answer within {ANSWER_TIMEOUT:?}")]
    Timeout,
    #[error("cannot make a key or signing request: {0}")]
    Request(#[from] rcgen::Error),
    #[error("the certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the trust anchors cannot be read: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
}

/// A certificate with its key.
struct Certified {
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
    lifetime: Duration,
}

impl Credentials {
    /// Begins to obtain a certificate. Must be called within a tokio runtime.
    pub fn start(config: CredentialsConfig) -> Self {
        let (sender, current) = watch::channel(None);
        let renewal = AbortOnDropHandle::new(tokio::spawn(renew(config, sender)));
        Self { current, _renewal: renewal }
    }

    /// The TLS configuration of this moment. Waits for the first one up to `limit`.
    pub(super) async fn current(&self, limit: Duration) -> Option<Arc<ClientConfig>> {
        let mut current = self.current.clone();
        let found = timeout(limit, current.wait_for(Option::is_some)).await.ok()?.ok()?;
        found.clone()
    }

    /// Whether there is a certificate.
    pub fn is_ready(&self) -> bool {
        self.current.borrow().is_some()
    }
}

async fn renew(config: CredentialsConfig, current: watch::Sender<Option<Arc<ClientConfig>>>) {
    let mut retry = MIN_RETRY;
    loop {
        match certify(&config).await {
            Ok(certified) => {
                retry = MIN_RETRY;
                tracing::info!(
                    identity = config.identity,
                    lifetime_s = certified.lifetime.as_secs(),
                    "certificate issued"
                );
                let renewal = tokio::time::sleep(certified.lifetime.mul_f64(0.7));
                tokio::select! {
                    () = renewal => {}
                    () = follow_anchors(&config, &certified, &current) => {}
                }
            }
            Err(error) => {
                tracing::warn!(identity = config.identity, %error, "failed to obtain a certificate; retrying");
                tokio::time::sleep(retry.mul_f64(rand::random_range(0.5..=1.0))).await;
                retry = (retry * 2).min(MAX_RETRY);
            }
        }
    }
}

/// Publishes the certificate with the trust anchors, until these change: then a new certificate is needed, because the
/// anchor of the old one may be gone.
async fn follow_anchors(
    config: &CredentialsConfig,
    certified: &Certified,
    current: &watch::Sender<Option<Arc<ClientConfig>>>,
) {
    let mut seen: Option<Vec<u8>> = None;
    loop {
        if let Ok(anchors) = read(&config.trust_anchors).await
            && seen.as_ref() != Some(&anchors)
        {
            match client_config(certified, &anchors) {
                Ok(config) => _ = current.send_replace(Some(Arc::new(config))),
                Err(error) => {
                    tracing::warn!(%error, "the trust anchors cannot be used; keeping the previous ones")
                }
            }
            if seen.replace(anchors).is_some() {
                return;
            }
        }
        tokio::time::sleep(ANCHORS_INTERVAL).await;
    }
}

async fn certify(config: &CredentialsConfig) -> Result<Certified, CredentialsError> {
    let token = read(&config.token_file).await?;
    let anchors = read(&config.trust_anchors).await?;
    let lookup = |error| CredentialsError::Lookup(config.control.clone(), error);
    let address = lookup_host(&config.control).await.map_err(lookup)?.next();
    let address = address.ok_or_else(|| lookup(std::io::ErrorKind::NotFound.into()))?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec![config.identity.clone()])?;
    params.distinguished_name = DistinguishedName::new();
    let request = CertifyRequest {
        identity: config.identity.clone(),
        token: token.trim_ascii().to_vec(),
        certificate_signing_request: params.serialize_request(&key)?.der().to_vec(),
    };
    let call = async {
        let channel = secure::connect(address, &anchors, &config.control_identity).await?;
        let mut client = IdentityClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let answer = client.certify(request).await;
        answer.map_err(|status| CredentialsError::Refused(status.message().to_owned()))
    };
    let answer = timeout(ANSWER_TIMEOUT, call).await.map_err(|_| CredentialsError::Timeout)??.into_inner();
    let expires = answer.valid_until.map_or(0, |until| u64::try_from(until.seconds).unwrap_or_default());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let chain = std::iter::once(answer.leaf_certificate).chain(answer.intermediate_certificates);
    Ok(Certified {
        chain: chain.map(CertificateDer::from).collect(),
        key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        lifetime: Duration::from_secs(expires).saturating_sub(now).max(MAX_RETRY),
    })
}

fn client_config(certified: &Certified, anchors: &[u8]) -> Result<ClientConfig, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for anchor in CertificateDer::pem_slice_iter(anchors) {
        roots.add(anchor?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(certified.chain.clone(), PrivateKeyDer::Pkcs8(certified.key.clone_key()))?;
    config.alpn_protocols = vec![secure::ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

async fn read(path: &std::path::Path) -> Result<Vec<u8>, CredentialsError> {
    use tokio::io::AsyncReadExt;
    let mut content = Vec::new();
    let result = async { tokio::fs::File::open(path).await?.take(MAX_FILE).read_to_end(&mut content).await };
    result.await.map_err(|error| CredentialsError::File(path.display().to_string(), error))?;
    Ok(content)
}
