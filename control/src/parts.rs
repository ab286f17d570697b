//! Builds the parts of the control plane and starts their tasks.

use std::{path::Path, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use kube::Client;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Error, SourceConfig},
    destination::Destinations,
    feed::{Feed, Source},
    grpc::{self, Services},
    identity::{CertificateAuthority, Identities, Tokens},
    index::Index,
    kubernetes::{self, KubernetesSource},
    manifests::ManifestSource,
    mesh::Mesh,
    metrics::Metrics,
    node::{Nodes, ProxyPresence, ServedFile},
    observe,
    ready::Readiness,
    state,
    streams::Streams,
};

/// The name of a task that has ended, and the result of the gRPC server.
pub(crate) type Ended = (&'static str, Result<(), tonic::transport::Error>);

/// The parts that share the index, before they run.
pub(crate) struct Parts {
    mesh: Arc<Mesh>,
    pub(crate) index: Arc<Index>,
    metrics: Metrics,
    authority: Arc<CertificateAuthority>,
    tokens: Arc<Tokens>,
    served: Arc<ServedFile>,
    presence: Arc<ProxyPresence>,
    feed: Feed,
    /// The client of the API server, if that is the source.
    client: Option<Client>,
}

/// The sockets that the parts serve.
pub(crate) struct Listeners {
    pub(crate) grpc: TcpListener,
    pub(crate) webhook: Option<TcpListener>,
}

impl Parts {
    /// Returns when the index holds all objects of the source.
    pub(crate) async fn build(
        config: &Config,
        metrics: Metrics,
        readiness: &Readiness,
    ) -> Result<Self, Error> {
        let failed = |path: &Path, error| Error::State { path: path.to_owned(), error };
        state::private_dir(&config.state).map_err(|error| failed(&config.state, error))?;
        let mesh = Arc::new(config.mesh.clone());
        let (served, known) = ServedFile::open(&config.state.join("served.json"));
        let index = Arc::new(Index::new(known));
        let authority = Arc::new(CertificateAuthority::open(&config.state, &mesh, metrics.clone())?);
        let tokens = Arc::new(Tokens::open(config.state.join("tokens"))?);
        for node in &config.nodes {
            tokens.ensure(node)?;
        }
        let (source, client) = match &config.source {
            SourceConfig::Manifests(folders) => {
                (Source::Manifests(ManifestSource::new(folders.clone())?), None)
            }
            SourceConfig::Kubernetes(config) => {
                let client = kubernetes::client(config.kubeconfig.as_deref()).await?;
                (Source::Kubernetes(KubernetesSource::start(&client, &metrics)), Some(client))
            }
        };
        let feed = Feed::new(source, index.clone(), metrics.clone()).first_sync(readiness).await;
        tokens.ensure_all(&index.snapshot());
        let (served, presence) = (Arc::new(served), Arc::default());
        Ok(Self { mesh, index, metrics, authority, tokens, served, presence, feed, client })
    }

    pub(crate) fn spawn(
        self,
        tasks: &mut JoinSet<Ended>,
        listeners: Listeners,
        lifetime: Duration,
        stop: &CancellationToken,
    ) {
        let Self { mesh, index, metrics, authority, tokens, served, presence, feed, client } = self;
        let streams = Streams::new(index.clone(), metrics.clone(), stop.clone());
        let services = Services {
            destinations: Destinations::new(mesh.clone(), streams.clone()),
            nodes: Nodes {
                mesh: mesh.clone(),
                index: index.clone(),
                tokens: tokens.clone(),
                streams,
                served: served.clone(),
                presence: presence.clone(),
                metrics: metrics.clone(),
            },
            identities: Identities {
                mesh: mesh.clone(),
                index: index.clone(),
                authority: authority.clone(),
                tokens: tokens.clone(),
                lifetime,
                metrics: metrics.clone(),
            },
        };
        let server = grpc::serve(listeners.grpc, services, stop.clone());
        tasks.spawn(async { ("the gRPC server", server.await) });
        let mut spawn = |name, task: BoxFuture<'static, ()>| {
            tasks.spawn(async move {
                task.await;
                (name, Ok(()))
            });
        };
        if let (Some(listener), Some(client)) = (listeners.webhook, client) {
            let _ = (listener, client);
        }
        let observer = observe::run(index.subscribe(), mesh, metrics.clone(), stop.clone());
        spawn("the feed of the index", Box::pin(feed.run(stop.clone())));
        spawn("the observer of the index", Box::pin(observer));
        spawn("the node tokens", Box::pin(tokens.run(index.subscribe(), stop.clone())));
        spawn("the certificate authority", Box::pin(authority.run(stop.clone())));
        spawn("the presence of proxies", Box::pin(presence.run(index, served, metrics, stop.clone())));
    }
}
