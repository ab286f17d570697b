//! Checks sessions with several replicas of the control plane, and whom the proxy takes for one.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, DuplexStream, copy_bidirectional, duplex},
    net::TcpListener,
    sync::{mpsc, watch},
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, transport::Server};
use weft_api::node::{
    self as api, ReportRequest, ReportResponse, State, Update, WatchRequest,
    node_server::{Node, NodeServer},
    update::Kind,
};

use super::{super::node_api::updates, *};
use crate::{
    control::{Client, ControlUrl, Replicas, TlsSettings, follow},
    tls::{Anchors, provider, testing::Ca},
    workload::Key,
};

const CONTROL: &str = "weft-control.weft.serviceaccount.identity.weft.cluster.local";

/// A replica of the control plane. Dropping it breaks all its connections.
struct Fake {
    address: SocketAddr,
    state: Arc<Seen>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Default)]
struct Seen {
    ready: watch::Sender<bool>,
    sessions: Mutex<Vec<WatchRequest>>,
    reports: Mutex<Vec<ReportRequest>>,
    watches: Mutex<usize>,
    connections: Mutex<usize>,
}

struct Service(Arc<Seen>);

type Updates = Pin<Box<dyn Stream<Item = Result<Update, Status>> + Send>>;

#[tonic::async_trait]
impl Node for Service {
    type WatchStream = Updates;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Updates>, Status> {
        let token = request.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        assert_eq!(token, "Bearer secret");
        let request = request.into_inner();
        if !request.presence_only {
            if !*self.0.ready.borrow() {
                return Err(Status::unavailable("this replica is not ready"));
            }
            *self.0.watches.lock() += 1;
        } else {
            self.0.sessions.lock().push(request);
        }
        let mut ready = self.0.ready.subscribe();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            ready.wait_for(|ready| *ready).await.unwrap();
            let snapshot = Update { kind: Some(Kind::Snapshot(api::Snapshot::default())) };
            let _ = sender.send(Ok(snapshot)).await;
            sender.closed().await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        self.0.reports.lock().push(request.into_inner());
        Ok(Response::new(ReportResponse {}))
    }
}

impl Fake {
    fn start(ca: &Ca, identity: &str, is_ready: bool) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), ca, identity, is_ready)
    }

    fn start_at(address: SocketAddr, ca: &Ca, identity: &str, is_ready: bool) -> Self {
        let (leaf, key) = ca.leaf(&[identity], Duration::from_secs(3600));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let state = Arc::new(Seen::default());
        state.ready.send_replace(is_ready);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, seen) = (TlsAcceptor::from(Arc::new(config)), state.clone());
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let (sender, accepted) = mpsc::channel::<std::io::Result<DuplexStream>>(1);
            let counted = seen.clone();
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    // A client that refuses the certificate ends the handshake.
                    let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                    *counted.connections.lock() += 1;
                    let (mut inner, outer) = duplex(64 << 10);
                    tokio::spawn(async move { copy_bidirectional(&mut stream, &mut inner).await });
                    let _ = sender.send(Ok(outer)).await;
                }
            });
            let server = Server::builder().add_service(NodeServer::new(Service(seen)));
            server.serve_with_incoming(ReceiverStream::new(accepted)).await.unwrap();
        });
        Self { address, state, runtime: Some(runtime) }
    }

    fn sessions(&self) -> usize {
        self.state.sessions.lock().len()
    }

    fn reports(&self) -> Vec<ReportRequest> {
        self.state.reports.lock().clone()
    }

    fn watches(&self) -> usize {
        *self.state.watches.lock()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A proxy's sessions with these replicas.
struct Proxy {
    replicas: Arc<Replicas>,
    client: Client,
    config: WatchConfig,
    anchors: watch::Sender<Option<Anchors>>,
    reporter: Arc<StatusReporter>,
    leaving: CancellationToken,
    task: AbortHandle,
    _dir: TempDir,
}

impl Proxy {
    fn start(ca: &Ca, addresses: &[SocketAddr]) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("token"), "secret\n").unwrap();
        let config = WatchConfig { node: "one".into(), token_file: dir.path().join("token") };
        let (anchors, receiver) = watch::channel(Some(ca.anchors()));
        let settings = TlsSettings { anchors: receiver, identity: CONTROL.parse().unwrap() };
        let (replicas, reporter) = (Replicas::new(), Arc::<StatusReporter>::default());
        let leaving = CancellationToken::new();
        let role = Role::Serving(reporter.clone(), leaving.clone());
        let urls: Vec<ControlUrl> =
            addresses.iter().map(|address| format!("https://{address}").parse().unwrap()).collect();
        let watch_config = config.clone();
        let session = move |replica| keep_session(replica, watch_config.clone(), role.clone());
        let task = tokio::spawn(follow(urls, settings, replicas.clone(), session)).abort_handle();
        let client = Client::new(replicas.clone());
        Self { replicas, client, config, anchors, reporter, leaving, task, _dir: dir }
    }

    async fn call(&self) -> Result<(), Status> {
        updates(&self.config, &self.client, false).await.map(drop)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn every_replica_has_a_session_and_is_told_which_pods_are_served() {
    let ca = Ca::new("root");
    let fakes = [Fake::start(&ca, CONTROL, true), Fake::start(&ca, CONTROL, false)];
    let proxy = Proxy::start(&ca, &fakes.each_ref().map(|fake| fake.address));
    let key = Key { namespace: "demo".into(), name: "web".into() };
    proxy.reporter.set(&key, "1", State::Served, "");
    let is_told = |fake: &Fake| {
        fake.reports().iter().any(|report| {
            report.node == "one" && report.workloads.iter().any(|pod| pod.state() == State::Served)
        })
    };
    until("both replicas are told", || fakes.iter().all(is_told)).await;
    proxy.reporter.set(&key, "1", State::Leaving, "");
    let is_told = |fake: &Fake| {
        fake.reports().last().is_some_and(|report| report.workloads[0].state() == State::Leaving)
    };
    until("both replicas are told of the change", || fakes.iter().all(is_told)).await;
    for fake in &fakes {
        let sessions = fake.state.sessions.lock();
        assert!(
            sessions
                .iter()
                .all(|session| session.presence_only && !session.draining && session.node == "one")
        );
    }
}

#[tokio::test]
async fn a_replica_that_is_not_ready_is_not_asked() {
    let ca = Ca::new("root");
    let (ready, starting) = (Fake::start(&ca, CONTROL, true), Fake::start(&ca, CONTROL, false));
    let proxy = Proxy::start(&ca, &[starting.address, ready.address]);
    until("there are sessions", || proxy.replicas.count() == (2, 1) && starting.sessions() == 1).await;
    for _ in 0..5 {
        proxy.call().await.unwrap();
    }
    assert_eq!((ready.watches(), starting.watches()), (5, 0));
    // It stays with the first one when the second becomes ready, too.
    starting.state.ready.send_replace(true);
    until("both are ready", || proxy.replicas.count() == (2, 2)).await;
    proxy.call().await.unwrap();
    assert_eq!((ready.watches(), starting.watches()), (6, 0));
}

#[tokio::test]
async fn when_a_replica_goes_the_next_call_goes_to_another_one_and_back_it_is_found_again() {
    let ca = Ca::new("root");
    let (first, second) = (Fake::start(&ca, CONTROL, true), Fake::start(&ca, CONTROL, false));
    let proxy = Proxy::start(&ca, &[first.address, second.address]);
    until("the first is ready", || proxy.replicas.count() == (2, 1)).await;
    second.state.ready.send_replace(true);
    until("both are ready", || proxy.replicas.count() == (2, 2)).await;
    proxy.call().await.unwrap();
    let address = first.address;
    drop(first);
    until("its session has ended", || proxy.replicas.count().1 == 1).await;
    for _ in 0..5 {
        proxy.call().await.unwrap();
    }
    assert_eq!(second.watches(), 5);

    let again = Fake::start_at(address, &ca, CONTROL, true);
    until("it has a session again", || proxy.replicas.count() == (2, 2)).await;
    drop(second);
    until("the second has gone", || proxy.replicas.count().1 == 1).await;
    proxy.call().await.unwrap();
    assert_eq!(again.watches(), 1);
    drop(again);
    until("none is left", || proxy.replicas.count().1 == 0).await;
    assert_eq!(proxy.call().await.unwrap_err().code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn only_the_identity_of_the_control_plane_under_the_trust_anchors_will_do() {
    let (ca, other) = (Ca::new("root"), Ca::new("other"));
    let workload = CONTROL.replace("weft-control.weft", "web.demo");
    let namesake = CONTROL.replace("weft-control.weft.", "weft-control.demo.");
    let wildcard = CONTROL.replace("weft-control.", "*.");
    let fakes = [
        Fake::start(&ca, &workload, true),
        Fake::start(&ca, &namesake, true),
        Fake::start(&ca, &wildcard, true),
        Fake::start(&other, CONTROL, true),
    ];
    let proxy = Proxy::start(&ca, &fakes.each_ref().map(|fake| fake.address));
    // Each one has been tried.
    until("all are refused", || proxy.replicas.counts().session_errors >= 8).await;
    assert_eq!(proxy.replicas.count(), (4, 0));
    assert!(fakes.iter().all(|fake| fake.sessions() == 0 && fake.reports().is_empty()));
    let error = proxy.call().await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable, "{error}");
}

#[tokio::test]
async fn a_server_without_tls_gets_no_token() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ca = Ca::new("root");
    let _proxy = Proxy::start(&ca, &[address]);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut first = [0; 3];
    stream.read_exact(&mut first).await.unwrap();
    // The head of a TLS record with a handshake message, and not HTTP/2's preface.
    assert_eq!(first, [0x16, 3, 1]);
}

#[tokio::test]
async fn new_trust_anchors_count_for_open_connections_too() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let fake = Fake::start(&old, CONTROL, true);
    let proxy = Proxy::start(&old, &[fake.address]);
    until("it is ready", || proxy.replicas.count() == (1, 1)).await;
    let both = Anchors::from_pem(format!("{}{}", old.pem(), new.pem()).as_bytes()).unwrap();
    proxy.anchors.send_replace(Some(both));
    let mut stream = updates(&proxy.config, &proxy.client, false).await.unwrap();
    stream.message().await.unwrap();
    assert_eq!(
        (*fake.state.connections.lock(), fake.sessions()),
        (1, 1),
        "the connection was given up for no reason"
    );
    proxy.anchors.send_replace(Some(new.anchors()));
    until("the replica is not trusted any more", || proxy.replicas.count() == (1, 0)).await;
    assert!(stream.message().await.is_err(), "the stream must end with the connection");
    assert_eq!(proxy.call().await.unwrap_err().code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn a_proxy_that_leaves_ends_its_sessions() {
    let ca = Ca::new("root");
    let fake = Fake::start(&ca, CONTROL, true);
    let proxy = Proxy::start(&ca, &[fake.address]);
    until("it is ready", || proxy.replicas.count() == (1, 1)).await;
    proxy.leaving.cancel();
    until("the session has ended", || proxy.replicas.count() == (0, 0)).await;
}

#[tokio::test]
async fn the_token_is_read_for_each_session() {
    let ca = Ca::new("root");
    let fake = Fake::start(&ca, CONTROL, true);
    let proxy = Proxy::start(&ca, &[fake.address]);
    until("it is ready", || proxy.replicas.count() == (1, 1)).await;
    // Without a token, nothing is asked.
    std::fs::remove_file(&proxy.config.token_file).unwrap();
    let error = proxy.call().await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unauthenticated);
    std::fs::write(&proxy.config.token_file, "secret").unwrap();
    proxy.call().await.unwrap();
}
