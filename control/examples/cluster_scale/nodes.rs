//! What the proxies of all nodes keep open: the stream of their workloads, and the endpoints of services.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tonic::{Request, Streaming, transport::Channel};
use weft_api::{
    linkerd::destination::{GetDestination, destination_client::DestinationClient},
    node::{
        ReportRequest, State, Update, WatchRequest, WorkloadState, node_client::NodeClient, update::Kind,
    },
    secure,
};

use crate::{
    control::{Control, NAMESPACE},
    objects::{Scale, authority, node, proxy_name},
};

/// The services whose endpoints each node follows; the first service is one of them on every node.
pub(crate) const SERVICES_PER_NODE: usize = 50;
/// Nodes that connect at the same time.
const AT_ONCE: usize = 16;
/// Streams that may be opened at the same time.
const OPENING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);
/// Without a message for this long, there are no more.
const QUIET: Duration = Duration::from_secs(3);

/// All streams. Dropping it ends them.
pub(crate) struct Nodes {
    received: mpsc::Receiver<Received>,
    /// How many streams follow each service.
    subscribers: Vec<usize>,
    count: usize,
    _tasks: JoinSet<()>,
}

/// A message about a service's endpoints has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) service: usize,
    pub(crate) at: Instant,
}

impl Nodes {
    pub(crate) async fn connect(control: &Control, client: &Client, scale: &Scale) -> Result<Self> {
        let mut tasks = JoinSet::new();
        let proxies = (0..scale.nodes).map(|number| Proxy::connect(control, client, number));
        let proxies: Vec<Proxy> = stream::iter(proxies).buffer_unordered(AT_ONCE).try_collect().await?;
        // A replica of weft-control answers after all proxies have reported what they serve: nothing yet.
        for proxy in &proxies {
            let presence = proxy.watch(true).await?;
            tasks.spawn(drain(presence));
            proxy.report(Vec::new()).await?;
        }
        control.ready().await?;
        for proxy in &proxies {
            tasks.spawn(drain(proxy.serve_all().await?));
        }
        let (sender, received) = mpsc::channel(1 << 16);
        let (mut subscribers, mut count) = (vec![0; scale.services], scale.nodes);
        let opening = Arc::new(Semaphore::new(OPENING));
        for proxy in &proxies {
            for service in subscriptions(proxy.number, scale) {
                subscribers[service] += 1;
                count += 1;
                let follow =
                    follow(proxy.channel.clone(), proxy.number, service, sender.clone(), opening.clone());
                tasks.spawn(async move {
                    if let Err(error) = follow.await {
                        eprintln!("the endpoints of service {service}: {error:#}");
                    }
                });
            }
        }
        let mut nodes = Self { received, subscribers, count, _tasks: tasks };
        for _ in 0..count - scale.nodes {
            nodes.next(PATIENCE).await?.context("a stream has no endpoints")?;
        }
        // The endpoints that a stream begins with come in several messages.
        while nodes.next(QUIET).await?.is_some() {}
        Ok(nodes)
    }

    pub(crate) fn streams(&self) -> usize {
        self.count
    }

    pub(crate) fn subscribers(&self, service: usize) -> usize {
        self.subscribers[service]
    }

    /// The next message; `None` if none comes for that long.
    pub(crate) async fn next(&mut self, patience: Duration) -> Result<Option<Received>> {
        match tokio::time::timeout(patience, self.received.recv()).await {
            Ok(Some(received)) => Ok(Some(received)),
            Ok(None) => bail!("all streams have ended"),
            Err(_) => Ok(None),
        }
    }
}

fn subscriptions(node: usize, scale: &Scale) -> BTreeSet<usize> {
    let others = (0..SERVICES_PER_NODE).map(|place| (node * 10 + place) % scale.services);
    let mut all: BTreeSet<_> = others.collect();
    // As many on every node.
    if !all.contains(&0) {
        all.pop_last();
    }
    all.insert(0);
    all
}

/// The proxy of a node, as far as weft-control can tell.
struct Proxy {
    number: usize,
    channel: Channel,
    token: String,
}

impl Proxy {
    async fn connect(control: &Control, client: &Client, number: usize) -> Result<Self> {
        let pod = Api::<Pod>::namespaced(client.clone(), NAMESPACE).get(&proxy_name(number)).await?;
        let bound = BoundObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: pod.metadata.name,
            uid: pod.metadata.uid,
        };
        let spec = TokenRequestSpec {
            audiences: vec!["identity.l5d.io".into()],
            bound_object_ref: Some(bound),
            expiration_seconds: Some(3600),
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), NAMESPACE);
        let token = accounts.create_token_request("weft-proxy", &PostParams::default(), &request).await?;
        let token = token.status.context("the API server gave no token")?.token;
        let channel = secure::connect(control.address()?, &control.anchors()?, &control.identity()?).await?;
        Ok(Self { number, channel, token })
    }

    async fn watch(&self, presence_only: bool) -> Result<Streaming<Update>> {
        let request = WatchRequest { node: node(self.number), draining: false, presence_only };
        Ok(NodeClient::new(self.channel.clone()).watch(self.request(request)?).await?.into_inner())
    }

    async fn report(&self, workloads: Vec<WorkloadState>) -> Result<()> {
        let request = ReportRequest { node: node(self.number), workloads };
        NodeClient::new(self.channel.clone()).report(self.request(request)?).await?;
        Ok(())
    }

    /// Reports all pods of the node as served.
    async fn serve_all(&self) -> Result<Streaming<Update>> {
        let mut stream = self.watch(false).await?;
        let first = stream.message().await?.and_then(|update| update.kind);
        let Some(Kind::Snapshot(snapshot)) = first else { bail!("the first message is no snapshot") };
        let served = |workload: weft_api::node::Workload| WorkloadState {
            r#ref: workload.r#ref,
            state: State::Served.into(),
            reason: String::new(),
        };
        let served: Vec<_> = snapshot.workloads.into_iter().map(served).collect();
        if served.is_empty() {
            return Err(anyhow!("{} has no meshed pods", node(self.number)));
        }
        self.report(served).await?;
        Ok(stream)
    }

    fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse()?);
        Ok(request)
    }
}

async fn drain(mut stream: Streaming<Update>) {
    while let Ok(Some(_)) = stream.message().await {}
}

/// Follows the endpoints of a service, and says when a message arrives.
async fn follow(
    channel: Channel,
    number: usize,
    service: usize,
    sender: mpsc::Sender<Received>,
    opening: Arc<Semaphore>,
) -> Result<()> {
    let permit = opening.acquire().await?;
    let request = GetDestination {
        path: authority(service),
        context_token: format!("{{\"nodeName\":\"{}\"}}", node(number)),
        ..GetDestination::default()
    };
    let mut stream = DestinationClient::new(channel).get(request).await?.into_inner();
    drop(permit);
    while stream.message().await?.is_some() {
        if sender.send(Received { service, at: Instant::now() }).await.is_err() {
            // The measurement is over.
            return Ok(());
        }
    }
    bail!("weft-control ended the stream")
}
