//! A client of the proxies' Tap API.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{runtime::Runtime, task::JoinHandle};
use tonic::{Request, Status, Streaming, transport::Endpoint};
use weft_api::{
    linkerd::tap::{
        Eos, ObserveRequest, TapEvent, eos,
        observe_request::{Extract, Match, extract},
        tap_client::TapClient,
        tap_event::{Event, ProxyDirection, http::Event as HttpEvent, http::RequestInit},
    },
    secure, tap,
};

use crate::{
    attack::{Authority, Leaf},
    mesh::{Mesh, NAMESPACE},
    wait,
};

/// The identity that may tap in scenarios.
pub const TAP_IDENTITY: &str = "tap.weft-viz.serviceaccount.identity.linkerd.cluster.local";
const PROXY_IDENTITY: &str = "weft-proxy.linkerd.serviceaccount.identity.linkerd.cluster.local";
const LIMIT: Duration = Duration::from_secs(10);

/// What is asked of a proxy.
pub struct Question<'a> {
    mesh: &'a Mesh,
    node: &'a str,
    leaf: Option<Leaf>,
    request: Request<ObserveRequest>,
}

/// An open tap, whose events are collected.
pub struct Tap {
    seen: Arc<Mutex<Seen>>,
    paused: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    calls: BTreeMap<(u32, u64), Call>,
    dropped: u64,
    ended: Option<Option<Status>>,
}

/// What a tap shows of a request.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub inbound: bool,
    pub request: RequestInit,
    pub method: String,
    pub source: BTreeMap<String, String>,
    pub destination: BTreeMap<String, String>,
    pub status: Option<u32>,
    pub latency: Option<Duration>,
    pub response_headers: BTreeMap<String, Vec<u8>>,
    pub end: Option<End>,
}

#[derive(Clone, Debug)]
pub struct End {
    pub duration: Duration,
    pub bytes: u64,
    pub grpc_status: Option<u32>,
    pub reset: Option<u32>,
}

/// Asks the proxy of `node`, as the tap service.
pub fn tap<'a>(mesh: &'a Mesh, node: &'a str, pods: &[&str]) -> Result<Question<'a>> {
    let leaf = Authority::of_mesh(mesh.control().folder())?.leaf(TAP_IDENTITY)?;
    let mut request = Request::new(ObserveRequest::default());
    let pods: Vec<String> = pods.iter().map(|pod| format!("{NAMESPACE}/{pod}")).collect();
    request.metadata_mut().insert(tap::WORKLOADS, pods.join(",").parse()?);
    Ok(Question { mesh, node, leaf: Some(leaf), request }.rps(100))
}

impl Question<'_> {
    /// With another certificate, or none.
    pub fn by(mut self, leaf: Option<Leaf>) -> Self {
        self.leaf = leaf;
        self
    }

    /// Requests per second.
    pub fn rps(self, rps: u32) -> Self {
        self.with(tap::MAX_RPS, &rps.to_string())
    }

    /// So many requests in all, as Linkerd's tap service asks.
    pub fn limit(mut self, requests: u32) -> Self {
        self.request.metadata_mut().remove(tap::MAX_RPS);
        self.request.get_mut().limit = requests;
        self
    }

    pub fn direction(self, direction: &str) -> Self {
        self.with(tap::DIRECTION, direction)
    }

    pub fn matching(mut self, wanted: Match) -> Self {
        self.request.get_mut().r#match = Some(wanted);
        self
    }

    /// With headers, but those.
    pub fn headers_but(mut self, ignored: &str) -> Self {
        let http =
            extract::Http { extract: Some(extract::http::Extract::Headers(extract::http::Headers {})) };
        self.request.get_mut().extract = Some(Extract { extract: Some(extract::Extract::Http(http)) });
        self.with(tap::IGNORE_HEADERS, ignored)
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = value.parse() {
            self.request.metadata_mut().insert(name, value);
        }
        self
    }

    /// Opens the tap.
    ///
    /// # Errors
    /// The proxy refuses it.
    pub fn open(self) -> Result<Tap> {
        let config = Arc::new(config(self.mesh, self.leaf)?);
        let file = self.mesh.folder()?.join(format!("proxy-{}", self.node)).join("tap-address");
        let address: SocketAddr =
            fs::read_to_string(&file).with_context(|| file.display().to_string())?.trim().parse()?;
        let server = secure::server_name(PROXY_IDENTITY)?;
        let stream = RUNTIME.as_ref().map_err(|error| anyhow!("{error}"))?.block_on(async {
            let open = async {
                let connector =
                    secure::Connector { address, server, config: move || Ok(Arc::clone(&config)) };
                let channel = Endpoint::from_shared(format!("https://{address}"))?
                    .connect_with_connector(connector)
                    .await?;
                anyhow::Ok(TapClient::new(channel).observe(self.request).await?.into_inner())
            };
            tokio::time::timeout(wait::here(LIMIT), open).await.context("the proxy does not answer")?
        })?;
        Tap::read(stream)
    }
}

impl Tap {
    fn read(mut stream: Streaming<TapEvent>) -> Result<Self> {
        let (seen, paused) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let reader = {
            let (seen, paused) = (seen.clone(), paused.clone());
            RUNTIME.as_ref().map_err(|error| anyhow!("{error}"))?.spawn(async move {
                loop {
                    while paused.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    let message = stream.message().await;
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    match message {
                        Ok(Some(event)) => seen.take(event),
                        Ok(None) => return seen.ended = Some(None),
                        Err(status) => return seen.ended = Some(Some(status)),
                    }
                }
            })
        };
        Ok(Self { seen, paused, reader })
    }

    /// Stops reading, or goes on.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::SeqCst);
    }

    /// What has been shown so far.
    pub fn calls(&self) -> Vec<Call> {
        self.seen().calls.values().cloned().collect()
    }

    /// The events that the proxy says it has kept back so far.
    pub fn dropped(&self) -> u64 {
        self.seen().dropped
    }

    /// Whether the stream has ended.
    pub fn ended(&self) -> bool {
        self.seen().ended.is_some()
    }

    /// Waits until exactly `count` requests have been shown to their end.
    pub fn expect(&self, count: usize) -> Result<Vec<Call>> {
        wait::until_ok(&format!("{count} requests are shown"), || {
            let calls = self.calls();
            let complete = calls.iter().filter(|call| call.end.is_some()).count();
            ensure!(
                calls.len() == count && complete == count,
                "{} are shown, {complete} to their end",
                calls.len()
            );
            Ok(calls)
        })
    }

    /// Waits until the stream has ended: how. `None`: in order.
    pub fn until_ended(&self) -> Result<Option<Status>> {
        wait::until_ok("the tap ends", || self.seen().ended.clone().context("it is open"))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Seen {
    fn take(&mut self, event: TapEvent) {
        let inbound = event.proxy_direction() == ProxyDirection::Inbound;
        let Some(Event::Http(http)) = event.event else {
            let labels = event.route_meta.unwrap_or_default().labels;
            self.dropped +=
                labels.get(tap::DROPPED).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
            return;
        };
        let time = |duration: Option<_>| duration.and_then(|d: prost_types::Duration| d.try_into().ok());
        match http.event {
            Some(HttpEvent::RequestInit(request)) => {
                let id = request.id.unwrap_or_default();
                let method = request.method.clone().and_then(|method| http::Method::try_from(method).ok());
                let call = Call {
                    inbound,
                    method: method.map(|method| method.to_string()).unwrap_or_default(),
                    request,
                    source: event.source_meta.unwrap_or_default().labels.into_iter().collect(),
                    destination: event.destination_meta.unwrap_or_default().labels.into_iter().collect(),
                    ..Call::default()
                };
                self.calls.insert((id.base, id.stream), call);
            }
            Some(HttpEvent::ResponseInit(response)) => {
                let id = response.id.unwrap_or_default();
                let call = self.calls.entry((id.base, id.stream)).or_default();
                call.status = Some(response.http_status);
                call.latency = time(response.since_request_init);
                let headers = response.headers.unwrap_or_default().headers.into_iter();
                call.response_headers = headers.map(|header| (header.name, header.value)).collect();
            }
            Some(HttpEvent::ResponseEnd(end)) => {
                let id = end.id.unwrap_or_default();
                let (grpc_status, reset) = match end.eos {
                    Some(Eos { end: Some(eos::End::GrpcStatusCode(code)) }) => (Some(code), None),
                    Some(Eos { end: Some(eos::End::ResetErrorCode(code)) }) => (None, Some(code)),
                    _ => (None, None),
                };
                let duration = time(end.since_request_init).unwrap_or_default();
                let end = End { duration, bytes: end.response_bytes, grpc_status, reset };
                self.calls.entry((id.base, id.stream)).or_default().end = Some(end);
            }
            None => {}
        }
    }
}

/// The runtime of all taps.
static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());

fn config(mesh: &Mesh, leaf: Option<Leaf>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for anchor in CertificateDer::pem_slice_iter(&fs::read(mesh.control().state("anchors.pem"))?) {
        roots.add(anchor?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let mut config = match leaf {
        Some(Leaf { chain, key }) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![secure::ALPN.to_vec()];
    Ok(config)
}
