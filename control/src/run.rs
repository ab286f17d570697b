//! Starts the parts of the control plane and stops them.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    admin,
    destination::Destinations,
    feed::Feed,
    grpc::{self, Services},
    identity::{CertificateAuthority, CertificateAuthorityError, Identities, TokenError, Tokens},
    index::Index,
    manifests::{ManifestSource, SourceError},
    mesh::Mesh,
    metrics::Metrics,
    node::{Nodes, ProxyPresence, ServedFile},
    observe, state,
    streams::Streams,
};

#[derive(Clone, Debug)]
pub struct Config {
    /// Folders of manifests; documents of a later one are merged onto those of an earlier one.
    pub manifests: Vec<PathBuf>,
    /// The folder for certificates, tokens, and the addresses that the control plane listens on.
    pub state: PathBuf,
    /// The address of the gRPC services; it must be a loopback address.
    pub listen: SocketAddr,
    /// The address of `/ready`, `/live` and `/metrics`.
    pub admin: SocketAddr,
    /// Nodes that get a token even if no manifest names them.
    pub nodes: Vec<String>,
    /// How long a certificate is valid.
    pub issuance_lifetime: Duration,
    pub mesh: Mesh,
}

/// A running control plane. Dropping it ends it at once.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    admin_address: SocketAddr,
    index: Arc<Index>,
    tasks: JoinSet<Ended>,
    stop: DropGuard,
}

/// Why a control plane does not start, or ends by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "--listen {0}: only a loopback address is possible, because the services are not encrypted yet; use \
         127.0.0.1 or [::1]"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("{path}: {error}", path = path.display())]
    State { path: PathBuf, error: io::Error },
    #[error(transparent)]
    CertificateAuthority(#[from] CertificateAuthorityError),
    #[error(transparent)]
    Tokens(#[from] TokenError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the gRPC server failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    #[error("{0} ended unexpectedly")]
    TaskEnded(&'static str),
}

/// The name of a task that has ended, and the result of the gRPC server.
type Ended = (&'static str, Result<(), tonic::transport::Error>);

/// The parts that share the index, before they run.
struct Parts {
    mesh: Arc<Mesh>,
    index: Arc<Index>,
    metrics: Metrics,
    authority: Arc<CertificateAuthority>,
    tokens: Arc<Tokens>,
    served: Arc<ServedFile>,
    presence: Arc<ProxyPresence>,
    feed: Feed,
}

impl Control {
    /// Starts a control plane. It is ready when this returns.
    pub async fn start(config: Config) -> Result<Self, Error> {
        if !config.listen.ip().is_loopback() {
            return Err(Error::NotLoopback(config.listen));
        }
        let parts = Parts::build(&config).await?;
        let (listener, address) = listen(config.listen).await?;
        let (admin_listener, admin_address) = listen(config.admin).await?;
        let index = parts.index.clone();
        let stop = CancellationToken::new();
        let tasks = parts.spawn(listener, admin_listener, config.issuance_lifetime, &stop);

        // The addresses are written last: whoever reads one can connect to it.
        for (name, address) in [("address", address), ("admin-address", admin_address)] {
            let path = config.state.join(name);
            state::write(&path, address.to_string().as_bytes(), 0o644)
                .map_err(|error| Error::State { path: path.clone(), error })?;
        }
        tracing::info!(%address, admin = %admin_address, "weft-control is ready");
        Ok(Self { address, admin_address, index, tasks, stop: stop.drop_guard() })
    }

    /// The address of the gRPC services.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of `/ready`, `/live` and `/metrics`.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The index that all services answer from.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Runs until `stop` is done, then ends streams and lets calls finish.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let early = tokio::select! {
            () = stop => None,
            ended = self.tasks.join_next() => ended,
        };
        self.stop.disarm().cancel();
        let early = early.map(|ended| {
            let (name, result) = unwrap_panic(ended);
            result.map_err(Error::Grpc).and(Err(Error::TaskEnded(name)))
        });
        while let Some(ended) = self.tasks.join_next().await {
            unwrap_panic(ended).1?;
        }
        early.unwrap_or(Ok(()))
    }
}

impl Parts {
    async fn build(config: &Config) -> Result<Self, Error> {
        let failed = |path: &Path, error| Error::State { path: path.to_owned(), error };
        state::private_dir(&config.state).map_err(|error| failed(&config.state, error))?;
        let metrics = Metrics::new();
        let mesh = Arc::new(config.mesh.clone());
        let (served, known) = ServedFile::open(&config.state.join("served.json"));
        let index = Arc::new(Index::new(known));
        let authority = Arc::new(CertificateAuthority::open(&config.state, &mesh, metrics.clone())?);
        let tokens = Arc::new(Tokens::open(config.state.join("tokens"))?);
        for node in &config.nodes {
            tokens.ensure(node)?;
        }
        let source = ManifestSource::new(config.manifests.clone())?;
        let feed = Feed { source, index: index.clone(), metrics: metrics.clone() }.pass_on().await;
        tokens.ensure_all(&index.snapshot());
        let (served, presence) = (Arc::new(served), Arc::default());
        Ok(Self { mesh, index, metrics, authority, tokens, served, presence, feed })
    }

    fn spawn(
        self,
        listener: TcpListener,
        admin_listener: TcpListener,
        lifetime: Duration,
        stop: &CancellationToken,
    ) -> JoinSet<Ended> {
        let Self { mesh, index, metrics, authority, tokens, served, presence, feed } = self;
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
        let mut tasks = JoinSet::new();
        let server = grpc::serve(listener, services, stop.clone());
        tasks.spawn(async { ("the gRPC server", server.await) });
        let mut spawn = |name, task: futures::future::BoxFuture<'static, ()>| {
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
        spawn("the admin server", Box::pin(admin::serve(admin_listener, metrics.clone(), stop.clone())));
        spawn("the presence of proxies", Box::pin(presence.run(index, served, metrics, stop.clone())));
        tasks
    }
}

/// The result of a task; a panic goes on here.
fn unwrap_panic(ended: Result<Ended, tokio::task::JoinError>) -> Ended {
    match ended {
        Ok(ended) => ended,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let bind = async {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind.await.map_err(|error| Error::Listen { address, error })
}
