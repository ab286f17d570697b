//! A fake control plane on real sockets, with answers that the test sets.

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures::Stream;
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status};
use weft_api::linkerd::{
    destination::{
        AddrSet, DestinationProfile, GetDestination, TlsIdentity, Update, WeightedAddr, WeightedAddrSet,
        destination_server::{Destination, DestinationServer},
        tls_identity::{DnsLikeIdentity, Strategy},
        update,
    },
    net::TcpAddress,
    outbound::{
        OutboundPolicy, ProxyProtocol, TrafficSpec,
        outbound_policies_server::{OutboundPolicies, OutboundPoliciesServer},
        proxy_protocol::Kind,
        traffic_spec::Target,
    },
};

/// Runs until it is dropped, which breaks every connection to it.
pub(super) struct Fake {
    addr: SocketAddr,
    service: Service,
    runtime: Option<Runtime>,
}

#[derive(Clone, Default)]
struct Service(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    profiles: Method<DestinationProfile>,
    endpoints: Method<Update>,
    policies: Method<OutboundPolicy>,
    calls: Vec<String>,
    context_token: String,
}

/// The answers of a call by path, and the open streams. A path without an answer gets no message.
struct Method<T> {
    answers: HashMap<String, Result<T, Status>>,
    open: Vec<(String, mpsc::Sender<Result<T, Status>>)>,
    calls: usize,
}

impl Fake {
    pub(super) fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into())
    }

    pub(super) fn start_at(addr: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&addr.into()).unwrap();
        socket.listen(64).unwrap();
        let listener = std::net::TcpListener::from(socket);
        let addr = listener.local_addr().unwrap();
        let service = Service::default();
        let server = tonic::transport::Server::builder()
            .add_service(DestinationServer::new(service.clone()))
            .add_service(OutboundPoliciesServer::new(service.clone()));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { addr, service, runtime: Some(runtime) }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the answer for `path`. Open streams that have had no message get it as well.
    pub(super) fn profile(&self, path: &str, answer: Result<DestinationProfile, Status>) {
        self.state(|state| state.profiles.answer(path, answer));
    }

    pub(super) fn endpoints(&self, path: &str, answer: Result<Update, Status>) {
        self.state(|state| state.endpoints.answer(path, answer));
    }

    /// Without it, this control plane does not know declared protocols.
    pub(super) fn policy(&self, path: &str, answer: Result<OutboundPolicy, Status>) {
        self.state(|state| state.policies.answer(path, answer));
    }

    pub(super) async fn send_policy(&self, message: OutboundPolicy) {
        for sender in self.state(|state| state.policies.senders()) {
            sender.send(Ok(message.clone())).await.unwrap();
        }
    }

    pub(super) fn policy_calls(&self) -> usize {
        self.state(|state| state.policies.calls)
    }

    /// Sends another message on all open streams.
    pub(super) async fn send_profile(&self, message: DestinationProfile) {
        for sender in self.state(|state| state.profiles.senders()) {
            sender.send(Ok(message.clone())).await.unwrap();
        }
    }

    pub(super) async fn send_endpoints(&self, message: Update) {
        for sender in self.state(|state| state.endpoints.senders()) {
            sender.send(Ok(message.clone())).await.unwrap();
        }
    }

    pub(super) fn profile_calls(&self) -> usize {
        self.state(|state| state.profiles.calls)
    }

    pub(super) fn get_calls(&self) -> usize {
        self.state(|state| state.endpoints.calls)
    }

    pub(super) fn calls_for(&self, path: &str) -> usize {
        self.state(|state| state.calls.iter().filter(|call| *call == path).count())
    }

    pub(super) fn context_token(&self) -> String {
        self.state(|state| state.context_token.clone())
    }

    pub(super) fn open_streams(&self) -> usize {
        self.state(|state| state.profiles.senders().len() + state.endpoints.senders().len())
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.service.0.lock().unwrap())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Destination for Service {
    type GetStream = Messages<Update>;
    type GetProfileStream = Messages<DestinationProfile>;

    async fn get(&self, request: Request<GetDestination>) -> Result<Response<Self::GetStream>, Status> {
        let request = request.into_inner();
        self.0.lock().unwrap().endpoints.call(&request.path)
    }

    async fn get_profile(
        &self,
        request: Request<GetDestination>,
    ) -> Result<Response<Self::GetProfileStream>, Status> {
        let request = request.into_inner();
        let mut state = self.0.lock().unwrap();
        state.calls.push(request.path.clone());
        state.context_token = request.context_token;
        state.profiles.call(&request.path)
    }
}

#[tonic::async_trait]
impl OutboundPolicies for Service {
    type WatchStream = Messages<OutboundPolicy>;

    async fn get(&self, _: Request<TrafficSpec>) -> Result<Response<OutboundPolicy>, Status> {
        Err(Status::unimplemented("proxies watch"))
    }

    async fn watch(&self, request: Request<TrafficSpec>) -> Result<Response<Self::WatchStream>, Status> {
        let TrafficSpec { source_workload, target: Some(Target::Addr(address)) } = request.into_inner()
        else {
            return Err(Status::invalid_argument("no address"));
        };
        assert_eq!(source_workload, "", "all pods of the node share the answer");
        let path = SocketAddr::try_from(address).unwrap().to_string();
        let mut state = self.0.lock().unwrap();
        if !state.policies.answers.contains_key(&path) {
            state.policies.calls += 1;
            return Err(Status::unimplemented("unknown service io.linkerd.proxy.outbound.OutboundPolicies"));
        }
        state.policies.call(&path)
    }
}

impl<T: Clone + Send + 'static> Method<T> {
    fn call(&mut self, path: &str) -> Result<Response<Messages<T>>, Status> {
        self.calls += 1;
        let (sender, receiver) = mpsc::channel(64);
        if let Some(answer) = self.answers.get(path) {
            sender.try_send(Ok(answer.clone()?)).unwrap();
        }
        self.open.push((path.to_owned(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    fn answer(&mut self, path: &str, answer: Result<T, Status>) {
        if !self.answers.contains_key(path) {
            for (_, sender) in self.open.iter().filter(|(open, _)| open == path) {
                // The client may have closed the stream.
                let _ = sender.try_send(answer.clone());
            }
        }
        self.answers.insert(path.to_owned(), answer);
    }

    fn senders(&mut self) -> Vec<mpsc::Sender<Result<T, Status>>> {
        self.open.retain(|(_, sender)| !sender.is_closed());
        self.open.iter().map(|(_, sender)| sender.clone()).collect()
    }
}

impl<T> Default for Method<T> {
    fn default() -> Self {
        Self { answers: HashMap::new(), open: Vec::new(), calls: 0 }
    }
}

pub(super) fn outbound_policy(kind: Kind) -> OutboundPolicy {
    OutboundPolicy { protocol: Some(ProxyProtocol { kind: Some(kind) }), metadata: None }
}

pub(super) fn service_profile(name: &str) -> DestinationProfile {
    DestinationProfile { fully_qualified_name: name.to_owned(), ..DestinationProfile::default() }
}

pub(super) fn endpoint_profile(addr: &str) -> DestinationProfile {
    DestinationProfile { endpoint: Some(weighted(addr, true)), ..DestinationProfile::default() }
}

/// Endpoints of the service `web`; the first one is meshed.
pub(super) fn add(addrs: &[&str]) -> Update {
    let addrs = addrs.iter().enumerate().map(|(n, addr)| weighted(addr, n == 0)).collect();
    let metric_labels = HashMap::from([("service".to_owned(), "web".to_owned())]);
    Update { update: Some(update::Update::Add(WeightedAddrSet { addrs, metric_labels })) }
}

pub(super) fn remove(addrs: &[&str]) -> Update {
    let addrs = addrs.iter().map(|addr| TcpAddress::from(addr.parse::<SocketAddr>().unwrap())).collect();
    Update { update: Some(update::Update::Remove(AddrSet { addrs })) }
}

fn weighted(addr: &str, meshed: bool) -> WeightedAddr {
    let addr: SocketAddr = addr.parse().unwrap();
    let pod = format!("pod-{}", addr.ip().to_string().replace(['.', ':'], "-"));
    let identity = DnsLikeIdentity { name: "web.demo.serviceaccount.identity.linkerd.cluster.local".into() };
    WeightedAddr {
        addr: Some(addr.into()),
        weight: 10_000,
        metric_labels: HashMap::from([("pod".to_owned(), pod)]),
        tls_identity: meshed.then(|| TlsIdentity {
            strategy: Some(Strategy::DnsLikeIdentity(identity.clone())),
            server_name: Some(identity),
        }),
        ..WeightedAddr::default()
    }
}
