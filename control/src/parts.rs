//! Builds the parts of the control plane and starts their tasks.

use std::{path::Path, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Error, SourceConfig},
    destination::Destinations,
    feed::{Feed, Source},
    grpc::{self, Services},
    identity::{Authenticator, CertificateAuthority, Identities, OwnCertificate, TokenReviews, Tokens},
    index::{Index, Served},
    kubernetes::{self, KubernetesSource},
    manifests::ManifestSource,
    mesh::Mesh,
    metrics::Metrics,
    model::Kind,
    node::{Nodes, ProxyPresence, ServedFile, follow_issuers},
    observe,
    outbound::OutboundPolicies,
    policy::Policies,
    readiness::Readiness,
    state,
    streams::Streams,
    webhook::Webhook,
};

/// The name of a task that has ended, and the result of the gRPC server.
pub(crate) type Ended = (&'static str, Result<(), grpc::GrpcError>);

/// The parts that share the index, before they run.
pub(crate) struct Parts {
    mesh: Arc<Mesh>,
    pub(crate) index: Arc<Index>,
    metrics: Metrics,
    authority: Arc<CertificateAuthority>,
    pub(crate) own: Arc<OwnCertificate>,
    readiness: Arc<Readiness>,
    authenticator: Authenticator,
    served: Arc<ServedFile>,
    presence: Arc<ProxyPresence>,
    feed: Feed,
    /// Only if the Kubernetes API is the source.
    webhook: Option<Webhook>,
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
        readiness: Arc<Readiness>,
    ) -> Result<Self, Error> {
        let failed = |path: &Path, error| Error::State { path: path.to_owned(), error };
        state::private_dir(&config.state).map_err(|error| failed(&config.state, error))?;
        let mesh = Arc::new(config.mesh.clone());
        let (served, known) = match &config.source {
            SourceConfig::Manifests(_) => ServedFile::open(&config.state.join("served.json")),
            // Replicas come and go: only the proxies know.
            SourceConfig::Kubernetes(_) => (ServedFile::none(), Served::new()),
        };
        let index = Arc::new(Index::with_defaults(known, config.defaults.clone()));
        let authority = CertificateAuthority::open(&config.identity, &config.state, &mesh, metrics.clone())?;
        let authority = Arc::new(authority);
        let own = OwnCertificate::new(&mesh, authority.clone(), config.identity.lifetime, metrics.clone())?;
        let (source, authenticator, webhook) = match &config.source {
            SourceConfig::Manifests(folders) => {
                let tokens = Arc::new(Tokens::open(config.state.join("tokens"))?);
                for node in &config.nodes {
                    tokens.ensure(node)?;
                }
                let source = Source::Manifests(ManifestSource::new(folders.clone())?);
                (source, Authenticator::Files(tokens), None)
            }
            SourceConfig::Kubernetes(config) => {
                let client = kubernetes::client(config.kubeconfig.as_deref()).await?;
                let source = Source::Kubernetes(KubernetesSource::start(&client, &Kind::ALL, &metrics));
                let reviews = TokenReviews::new(client.clone(), mesh.clone(), index.clone(), metrics.clone());
                let webhook = Webhook::new(&mesh, authority.clone(), client, metrics.clone())?;
                (source, Authenticator::Reviews(Arc::new(reviews)), Some(webhook))
            }
        };
        let feed = Feed::new(source, &Kind::ALL, index.clone(), metrics.clone());
        let feed = feed.first_sync(|kinds| readiness.waits_for_lists(kinds)).await;
        if let Authenticator::Files(tokens) = &authenticator {
            tokens.ensure_all(&index.snapshot());
        }
        match served.was_found() {
            true => readiness.skip(),
            false => readiness.source_synced(&index),
        }
        let (own, served, presence) = (Arc::new(own), Arc::new(served), Arc::default());
        Ok(Self {
            mesh,
            index,
            metrics,
            authority,
            own,
            readiness,
            authenticator,
            served,
            presence,
            feed,
            webhook,
        })
    }

    pub(crate) fn spawn(
        self,
        tasks: &mut JoinSet<Ended>,
        listeners: Listeners,
        lifetime: Duration,
        stop: &CancellationToken,
    ) {
        let Self { mesh, index, metrics, authority, own, readiness, authenticator, served, presence, .. } =
            self;
        let streams = Streams::new(index.clone(), readiness.clone(), metrics.clone(), stop.clone());
        let services = Services {
            destinations: Destinations::new(mesh.clone(), streams.clone()),
            outbound: OutboundPolicies::new(mesh.clone(), streams.clone()),
            policies: Policies::new(mesh.clone(), streams.clone()),
            nodes: Nodes {
                mesh: mesh.clone(),
                index: index.clone(),
                authority: authority.clone(),
                authenticator: authenticator.clone(),
                readiness: readiness.clone(),
                streams,
                served: served.clone(),
                presence: presence.clone(),
                metrics: metrics.clone(),
            },
            identities: Identities {
                mesh: mesh.clone(),
                index: index.clone(),
                authority: authority.clone(),
                authenticator: authenticator.clone(),
                readiness: readiness.clone(),
                lifetime,
                metrics: metrics.clone(),
            },
        };
        let server = grpc::serve(listeners.grpc, own.clone(), services, metrics.clone(), stop.clone());
        tasks.spawn(async { ("the gRPC server", server.await) });
        let mut spawn = |name, task: BoxFuture<'static, ()>| {
            tasks.spawn(async move {
                task.await;
                (name, Ok(()))
            });
        };
        if let (Some(webhook), Some(listener)) = (self.webhook, listeners.webhook) {
            spawn("the webhook", Box::pin(webhook.run(listener, stop.clone())));
        }
        if let Authenticator::Files(tokens) = authenticator {
            spawn("the node tokens", Box::pin(tokens.run(index.subscribe(), stop.clone())));
        }
        let observer = observe::run(index.subscribe(), mesh, metrics.clone(), stop.clone());
        spawn("the feed of the index", Box::pin(self.feed.run(stop.clone())));
        spawn("the observer of the index", Box::pin(observer));
        let issuers = follow_issuers(authority.clone(), index.clone(), stop.clone());
        spawn("the news of issuers", Box::pin(issuers));
        spawn("the certificate authority", Box::pin(authority.run(stop.clone())));
        spawn("weft-control's own certificate", Box::pin(own.run(stop.clone())));
        let becoming_ready = readiness.run(index.clone(), metrics.clone(), stop.clone());
        spawn("the readiness", Box::pin(becoming_ready));
        spawn("the presence of proxies", Box::pin(presence.run(index, served, metrics, stop.clone())));
    }
}
