//! Tests of how certificates are obtained, verified, renewed and dropped.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use rcgen::{CertificateSigningRequestParams, KeyPair};
use tempfile::TempDir;
use tokio::task::AbortHandle;
use tonic::{Request, Response, Status};
use weft_api::linkerd::identity::{
    CertifyRequest, CertifyResponse,
    identity_server::{Identity as IdentityService, IdentityServer},
};

use super::{anchors_file::watch_file, clock::Clock, timing::Timing, *};
use crate::{
    control::Client,
    metrics::IdentityMetrics,
    tls::{
        self, Anchors, Credential, CredentialError,
        testing::{Ca, identity, names_of},
    },
};

mod issuers;
mod jumps;

/// How the fake control plane answers.
#[derive(Clone)]
enum Answer {
    Good {
        issuer: Arc<Ca>,
        lifetime: Duration,
    },
    /// With the issuer's own certificate.
    Chained(Arc<Ca>),
    Refuse,
    ForAnotherName(Arc<Ca>),
    ForAnotherKey(Arc<Ca>),
    Garbage,
    Never,
}

#[derive(Clone)]
struct Service {
    answer: Arc<Mutex<Answer>>,
    requests: Arc<Mutex<Vec<CertifyRequest>>>,
}

#[tonic::async_trait]
impl IdentityService for Service {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        let request = request.into_inner();
        self.requests.lock().push(request.clone());
        let answer = self.answer.lock().clone();
        let csr = &request.certificate_signing_request;
        let hour = Duration::from_secs(3600);
        let mut intermediates = Vec::new();
        let leaf = match answer {
            Answer::Good { issuer, lifetime } => issuer.sign(csr, lifetime),
            Answer::Chained(issuer) => {
                intermediates.push(issuer.der().to_vec());
                issuer.sign(csr, hour)
            }
            Answer::Refuse => return Err(Status::permission_denied("no such pod on this node")),
            Answer::ForAnotherName(ca) => ca.leaf(&[identity("other").as_str()], hour).0,
            Answer::ForAnotherKey(ca) => ca.leaf(&[&request.identity], hour).0,
            Answer::Garbage => vec![0x30, 0x03, 1, 2, 3].into(),
            Answer::Never => std::future::pending().await,
        };
        Ok(Response::new(CertifyResponse {
            leaf_certificate: leaf.to_vec(),
            intermediate_certificates: intermediates,
            valid_until: None,
        }))
    }
}

/// A store with a fake control plane.
struct World {
    dir: TempDir,
    service: Service,
    metrics: IdentityMetrics,
    issuer: CurrentIssuer,
    store: Arc<Store>,
    server: AbortHandle,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl World {
    async fn new(anchors: &str, answer: Answer) -> Self {
        Self::at(anchors, answer, Clock::default()).await
    }

    async fn at(anchors: &str, answer: Answer, clock: Clock) -> Self {
        Self::with(anchors, answer, timing(clock)).await
    }

    async fn with(anchors: &str, answer: Answer, timing: Timing) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("anchors.pem"), anchors).unwrap();
        std::fs::write(dir.path().join("token"), "first-token\n").unwrap();
        let service = Service { answer: Arc::new(Mutex::new(answer)), requests: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tonic::transport::Server::builder()
            .add_service(IdentityServer::new(service.clone()))
            .serve_with_incoming(incoming);
        let server = tokio::spawn(server).abort_handle();
        let (sender, anchors) = tokio::sync::watch::channel(None);
        let file = dir.path().join("anchors.pem");
        tokio::spawn(watch_file(file.into(), Duration::from_millis(20), sender));
        let issuer = CurrentIssuer::default();
        let config = Config {
            issuer: issuer.clone(),
            node: "n1".to_owned(),
            control: Client::fixed(address),
            token_file: dir.path().join("token"),
            anchors,
        };
        let metrics = IdentityMetrics::default();
        let (store, watches) = Store::with_timing(config, metrics.clone(), timing);
        tokio::spawn(watches);
        Self { dir, service, metrics, issuer, store, server }
    }

    fn answer(&self, answer: Answer) {
        *self.service.answer.lock() = answer;
    }

    fn requests(&self) -> Vec<CertifyRequest> {
        self.service.requests.lock().clone()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn metrics(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(self.metrics.clone()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }
}

fn timing(clock: Clock) -> Timing {
    Timing {
        renew_min: Duration::from_millis(100),
        renew_max: Duration::from_secs(60),
        retry_min: Duration::from_millis(20),
        retry_max: Duration::from_millis(100),
        replace_min: Duration::from_millis(20),
        replace_max: Duration::from_millis(100),
        clock,
        clock_period: Duration::from_millis(20),
    }
}

fn good(ca: &Arc<Ca>) -> Answer {
    Answer::Good { issuer: ca.clone(), lifetime: Duration::from_secs(3600) }
}

/// Waits until `check` is true.
async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(20), "timed out waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn handshake(client: &Credential, server: &Credential) -> Result<tls::Peer, tls::TlsError> {
    let (client_io, server_io) = tokio::io::duplex(64 * 1024);
    let name = &server.identity;
    let endpoint = ([127, 0, 0, 1], 1).into();
    let (client, server) = tokio::join!(
        tls::tests::connect(client, name, name.as_str(), endpoint, client_io),
        tls::accept(server, server_io)
    );
    client?;
    Ok(server?.1)
}

#[tokio::test]
async fn certificates_come_from_the_control_plane() {
    let ca = Arc::new(Ca::new("root"));
    let world = World::new(&ca.pem(), good(&ca)).await;
    assert!(world.store.any_ready(), "a store without leases must be ready");
    let (web, db) = (world.store.lease(&identity("web")), world.store.lease(&identity("db")));
    assert!(web.current().is_none() && !world.store.any_ready());
    web.usable().await;
    db.usable().await;
    assert!(world.store.anchors_ready() && world.store.any_ready());
    let peer = handshake(&web.current().unwrap(), &db.current().unwrap()).await.unwrap();
    assert_eq!(peer.identity, Some(identity("web")));

    let requests = world.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.token, b"first-token");
        let csr = request.certificate_signing_request;
        let parsed = CertificateSigningRequestParams::from_der(&csr.as_slice().into()).unwrap();
        assert_eq!(names_of(&parsed.params), [request.identity]);
        assert_eq!(parsed.params.distinguished_name.iter().count(), 0);
    }
    let metrics = world.metrics();
    for (result, count) in [("ok", 1), ("error", 0)] {
        let line = format!(
            "control_identity_cert_refreshes_total{{identity=\"{}\",result=\"{result}\"}} {count}",
            identity("web")
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn leases_share_a_certificate_and_the_last_one_drops_it() {
    let ca = Arc::new(Ca::new("root"));
    let world = World::new(&ca.pem(), good(&ca)).await;
    let first = world.store.lease(&identity("web"));
    let second = world.store.lease(&identity("web"));
    let third = second.clone();
    first.usable().await;
    assert!(Arc::ptr_eq(&first.current().unwrap(), &third.current().unwrap()));
    assert_eq!(world.requests().len(), 1);
    drop((first, second));
    assert!(third.current().is_some());
    assert_eq!(world.store.expiries().len(), 1);
    drop(third);
    assert_eq!(world.store.expiries().len(), 0);
    assert!(!world.metrics().contains("identity=\"web"));
    world.store.lease(&identity("web")).usable().await;
    assert_eq!(world.requests().len(), 2, "the old key must have been dropped");
}

#[tokio::test]
async fn a_new_lease_retries_a_failed_request_at_once() {
    const HOUR: Duration = Duration::from_secs(3600);
    let ca = Arc::new(Ca::new("root"));
    let rare_retries = Timing { retry_min: HOUR, retry_max: HOUR, ..timing(Clock::default()) };
    let world = World::with(&ca.pem(), Answer::Refuse, rare_retries).await;
    let leaving = world.store.lease(&identity("web"));
    eventually("a refusal", || world.requests().len() == 1).await;
    world.answer(good(&ca));
    let joining = world.store.lease(&identity("web"));
    eventually("a certificate", || joining.current().is_some() && leaving.current().is_some()).await;
    let _another = world.store.lease(&identity("web"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.requests().len(), 2, "a valid certificate was requested again");
}

#[tokio::test]
async fn invalid_answers_are_not_used() {
    let (ca, foreign) = (Arc::new(Ca::new("root")), Arc::new(Ca::new("foreign")));
    let lifetime = Duration::from_secs(3600);
    let invalid = [
        Answer::Refuse,
        Answer::ForAnotherName(ca.clone()),
        Answer::ForAnotherKey(ca.clone()),
        Answer::Garbage,
        good(&foreign),
        Answer::Good { issuer: Arc::new(ca.intermediate("not in the answer")), lifetime },
    ];
    let world = World::new(&ca.pem(), Answer::Refuse).await;
    let web = world.store.lease(&identity("web"));
    for answer in invalid {
        world.answer(answer);
        let asked = world.requests().len();
        eventually("another request", || world.requests().len() > asked + 2).await;
        assert!(web.current().is_none());
    }
    // The token may be replaced at any time.
    std::fs::write(world.file("token"), "second-token").unwrap();
    world.answer(good(&ca));
    web.usable().await;
    assert_eq!(world.requests().last().unwrap().token, b"second-token");
    assert!(world.metrics().contains("result=\"error\"} 1"));
}

#[tokio::test]
async fn certificates_are_renewed_and_used_until_they_expire() {
    let ca = Arc::new(Ca::new("root"));
    let lifetime = Duration::from_secs(5);
    let world = World::new(&ca.pem(), Answer::Good { issuer: ca.clone(), lifetime }).await;
    let web = world.store.lease(&identity("web"));
    web.usable().await;
    let first = web.current().unwrap();
    assert!(first.expires > SystemTime::now() && first.expires < SystemTime::now() + lifetime * 2);
    eventually("a renewal", || !Arc::ptr_eq(&first, &web.current().unwrap())).await;
    let keys: Vec<_> = world.requests().into_iter().map(|r| r.certificate_signing_request).collect();
    assert_ne!(key_of(&keys[0]), key_of(&keys[1]), "two certificates have the same key");

    // From now on, renewals fail: the certificate is used until it expires, and not longer.
    world.answer(Answer::Refuse);
    let asked = world.requests().len();
    eventually("a retry", || world.requests().len() > asked).await;
    let old = web.current().expect("the certificate is still valid");
    eventually("the expiry", || web.current().is_none()).await;
    assert!(SystemTime::now() >= old.expires);
    assert!(!world.store.any_ready());
    world.answer(good(&ca));
    eventually("a new certificate", || web.current().is_some()).await;
}

fn key_of(csr: &[u8]) -> Vec<u8> {
    use rcgen::PublicKeyData;
    CertificateSigningRequestParams::from_der(&csr.into()).unwrap().public_key.subject_public_key_info()
}

#[tokio::test]
async fn trust_anchors_are_rotated_while_in_use() {
    let (old, new) = (Arc::new(Ca::new("old")), Arc::new(Ca::new("new")));
    let world = World::new(&old.pem(), good(&old)).await;
    let (web, db) = (world.store.lease(&identity("web")), world.store.lease(&identity("db")));
    web.usable().await;
    db.usable().await;
    let before = (web.current().unwrap(), db.current().unwrap());
    handshake(&before.0, &before.1).await.unwrap();
    let foreign = new.credential(identity("cache").as_str());
    assert_eq!(handshake(&before.0, &foreign).await.unwrap_err().reason(), "unknown_ca");

    // Both anchors are trusted: certificates stay, sessions are not resumed.
    std::fs::write(world.file("anchors.pem"), old.pem() + &new.pem()).unwrap();
    eventually("new credentials", || {
        !Arc::ptr_eq(&before.0, &web.current().unwrap()) && !Arc::ptr_eq(&before.1, &db.current().unwrap())
    })
    .await;
    assert_eq!(world.requests().len(), 2, "a new certificate was requested");
    let (web_now, db_now) = (web.current().unwrap(), db.current().unwrap());
    assert!(!handshake(&web_now, &db_now).await.unwrap().resumed);
    handshake(&before.0, &db_now).await.unwrap();
    let (leaf, key) = new.leaf(&[identity("cache").as_str()], Duration::from_secs(60));
    let both = Anchors::from_pem((old.pem() + &new.pem()).as_bytes()).unwrap();
    assert_eq!(both.count(), 2);
    let cache = Credential::new(identity("cache"), vec![leaf], key, &both).unwrap();
    handshake(&web_now, &cache).await.unwrap();
    handshake(&cache, &db_now).await.unwrap();

    // An invalid bundle changes nothing.
    for invalid in ["", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"] {
        std::fs::write(world.file("anchors.pem"), invalid).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(Arc::ptr_eq(&web_now, &web.current().unwrap()));
    }

    // The old anchor is removed before the certificates were renewed: new ones are requested at once.
    world.answer(good(&new));
    std::fs::write(world.file("anchors.pem"), new.pem()).unwrap();
    let verifier = new.credential(identity("verifier").as_str());
    for lease in [&web, &db] {
        let start = Instant::now();
        while handshake(&verifier, &lease.current().unwrap()).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "never certified by the new CA");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    handshake(&web.current().unwrap(), &db.current().unwrap()).await.unwrap();
}

#[tokio::test]
async fn requests_wait_for_trust_anchors_and_can_be_dropped() {
    let ca = Arc::new(Ca::new("root"));
    let world = World::new("", Answer::Never).await;
    let web = world.store.lease(&identity("web"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!world.store.anchors_ready());
    assert_eq!(world.requests().len(), 0, "requested a certificate without anchors to verify it");
    std::fs::write(world.file("anchors.pem"), ca.pem()).unwrap();
    eventually("a request", || world.requests().len() == 1).await;
    // The request is not answered; the lease can be dropped meanwhile.
    drop(web);
    assert_eq!(world.store.expiries().len(), 0);
}

#[test]
fn a_key_must_match_its_certificate() {
    let ca = Ca::new("root");
    let (leaf, _) = ca.leaf(&[identity("web").as_str()], Duration::from_secs(60));
    let other = KeyPair::generate().unwrap().serialize_der();
    let other = rustls_pki_types::PrivatePkcs8KeyDer::from(other).into();
    let error = Credential::new(identity("web"), vec![leaf], other, &ca.anchors()).unwrap_err();
    assert!(matches!(error, CredentialError::OtherKey), "{error}");
}
