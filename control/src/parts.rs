//! Builds the parts of the control plane and starts their tasks.

use std::{path::Path, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    admin,
    config::{Config, Error},
    destination::Destinations,
    feed::Feed,
    grpc::{self, Services},
    identity::{
        Authenticator, CertificateAuthority, Identities, OwnCertificate, PROXY_ACCOUNT, Tokens,
    },
    index::Index,
    manifests::ManifestSource,
    mesh::Mesh,
    metrics::Metrics,
    node::{Nodes, ProxyPresence, ServedFile},
    observe,
    readiness::{ProxyPods, Readiness},
    state,
    streams::Streams,
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
    tokens: Arc<Tokens>,
    served: Arc<ServedFile>,
    presence: Arc<ProxyPresence>,
    feed: Feed,
}

impl Parts {
    pub(crate) async fn build(config: &Config) -> Result<Self, Error> {
        let failed = |path: &Path, error| Error::State { path: path.to_owned(), error };
        state::private_dir(&config.state).map_err(|error| failed(&config.state, error))?;
        let metrics = Metrics::new();
        let mesh = Arc::new(config.mesh.clone());
        let (served, known) = ServedFile::open(&config.state.join("served.json"));
        let index = Arc::new(Index::new(known));
        let authority = CertificateAuthority::open(&config.identity, &config.state, &mesh, metrics.clone())?;
        let authority = Arc::new(authority);
        let own = OwnCertificate::new(&mesh, authority.clone(), config.identity.lifetime, metrics.clone())?;
        let readiness = Readiness::new(ProxyPods {
            namespace: mesh.control_plane_namespace.clone(),
            service_account: PROXY_ACCOUNT,
        });
        let tokens = Arc::new(Tokens::open(config.state.join("tokens"))?);
        for node in &config.nodes {
            tokens.ensure(node)?;
        }
        let source = ManifestSource::new(config.manifests.clone())?;
        let feed = Feed { source, index: index.clone(), metrics: metrics.clone() }.pass_on().await;
        tokens.ensure_all(&index.snapshot());
        match served.was_found() {
            true => readiness.skip(),
            false => readiness.source_synced(&index),
        }
        let (own, served, presence) = (Arc::new(own), Arc::new(served), Arc::default());
        Ok(Self { mesh, index, metrics, authority, own, readiness, tokens, served, presence, feed })
    }

    pub(crate) fn spawn(
        self,
        listener: TcpListener,
        admin_listener: TcpListener,
        lifetime: Duration,
        stop: &CancellationToken,
    ) -> JoinSet<Ended> {
        let Self { mesh, index, metrics, authority, own, readiness, tokens, served, presence, feed } = self;
        let streams = Streams::new(index.clone(), readiness.clone(), metrics.clone(), stop.clone());
        let authenticator = Authenticator::Files(tokens.clone());
        let services = Services {
            destinations: Destinations::new(mesh.clone(), streams.clone()),
            nodes: Nodes {
                mesh: mesh.clone(),
                index: index.clone(),
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
                authenticator,
                readiness: readiness.clone(),
                lifetime,
                metrics: metrics.clone(),
            },
        };
        let mut tasks = JoinSet::new();
        let server = grpc::serve(listener, own.clone(), services, metrics.clone(), stop.clone());
        tasks.spawn(async { ("the gRPC server", server.await) });
        let mut spawn = |name, task: BoxFuture<'static, ()>| {
            tasks.spawn(async move {
                task.await;
                (name, Ok(()))
            });
        };
        let observer = observe::run(index.subscribe(), mesh, metrics.clone(), stop.clone());
        spawn("the feed of the index", Box::pin(feed.run(stop.clone())));
        spawn("the observer of the index", Box::pin(observer));
        spawn("the node tokens", Box::pin(tokens.run(index.subscribe(), stop.clone())));
        spawn("the certificate authority", Box::pin(authority.run(stop.clone())));
        spawn("weft-control's own certificate", Box::pin(own.run(stop.clone())));
        let becoming_ready = readiness.clone().run(index.clone(), metrics.clone(), stop.clone());
        spawn("the readiness", Box::pin(becoming_ready));
        let admin = admin::serve(admin_listener, metrics.clone(), readiness, stop.clone());
        spawn("the admin server", Box::pin(admin));
        spawn("the presence of proxies", Box::pin(presence.run(index, served, metrics, stop.clone())));
        tasks
    }
}
