//! Which parts of the control plane start, in which order, and how do they stop?

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    admin,
    destination::Destinations,
    grpc::{self, Services, Streams},
    identity::{Authority, AuthorityError, Identities, TokenError, Tokens},
    index::{Index, Mesh},
    metrics::Metrics,
    node::{Attendance, Nodes, ServedFile},
    source::{ManifestSource, SourceError},
    state,
};

/// What a control plane is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folders of manifests; documents of a later one are merged onto those of an earlier one.
    pub manifests: Vec<PathBuf>,
    /// Where certificates, tokens and addresses are kept.
    pub state: PathBuf,
    /// Where the gRPC services listen; only a loopback address.
    pub listen: SocketAddr,
    /// Where `/ready`, `/live` and `/metrics` are.
    pub admin: SocketAddr,
    /// Nodes that get a token even if no manifest names them.
    pub nodes: Vec<String>,
    /// How long a certificate is valid.
    pub issuance_lifetime: Duration,
    /// Names and networks.
    pub mesh: Mesh,
}

/// A control plane that runs.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    admin_address: SocketAddr,
    index: Arc<Index>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<Result<(), tonic::transport::Error>>,
}

/// Why a control plane does not start or ends early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address of the network.
    #[error(
        "--listen {0}: only a loopback address is possible, because the services are not encrypted yet; listen on \
         127.0.0.1 or [::1]"
    )]
    NotLoopback(SocketAddr),
    /// A socket.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Its address.
        address: SocketAddr,
        /// What happened.
        error: io::Error,
    },
    /// A file of the state folder.
    #[error("{path}: {error}", path = path.display())]
    State {
        /// Which one.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// Certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Tokens.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// Manifests.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The gRPC server.
    #[error("the gRPC server ended: {0}")]
    Grpc(#[from] tonic::transport::Error),
}

impl Control {
    /// Starts a control plane; when this returns it is ready.
    pub async fn start(config: Config) -> Result<Self, Error> {
        if !config.listen.ip().is_loopback() {
            return Err(Error::NotLoopback(config.listen));
        }
        let failed = |path: &Path, error| Error::State { path: path.to_owned(), error };
        state::private_dir(&config.state).map_err(|error| failed(&config.state, error))?;
        let metrics = Metrics::new();
        let mesh = Arc::new(config.mesh);
        let (served, known) = ServedFile::open(&config.state.join("served.json"));
        let index = Arc::new(Index::new(known));
        let authority = Arc::new(Authority::open(&config.state, &mesh, metrics.clone())?);
        let tokens = Arc::new(Tokens::open(config.state.join("tokens"))?);
        for node in &config.nodes {
            tokens.ensure(node)?;
        }
        let source = ManifestSource::start(
            config.manifests,
            mesh.clone(),
            index.clone(),
            tokens.clone(),
            metrics.clone(),
        )
        .await?;

        let (listener, address) = listen(config.listen).await?;
        let (admin_listener, admin_address) = listen(config.admin).await?;
        let (stop, stopping) = watch::channel(false);
        let (served, attendance) = (Arc::new(served), Arc::<Attendance>::default());
        let streams = Streams::new(index.clone(), metrics.clone(), stopping.clone());
        let services = Services {
            destinations: Destinations::new(mesh.clone(), streams.clone()),
            nodes: Nodes {
                mesh: mesh.clone(),
                index: index.clone(),
                tokens: tokens.clone(),
                streams,
                served: served.clone(),
                attendance: attendance.clone(),
                metrics: metrics.clone(),
            },
            identities: Identities {
                mesh,
                index: index.clone(),
                authority: authority.clone(),
                tokens: tokens.clone(),
                lifetime: config.issuance_lifetime,
                metrics: metrics.clone(),
            },
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(grpc::serve(listener, services, stopping.clone()));
        let following = attendance.follow(index.clone(), served, metrics.clone(), stopping.clone());
        tasks.spawn(async {
            following.await;
            Ok(())
        });
        let (admin_stopping, tokens_stopping) = (stopping.clone(), stopping.clone());
        tasks.spawn(async {
            admin::serve(admin_listener, metrics, admin_stopping).await;
            Ok(())
        });
        tasks.spawn(async move {
            tokens.follow(tokens_stopping).await;
            Ok(())
        });
        let authority_stopping = stopping.clone();
        tasks.spawn(async {
            authority.follow(authority_stopping).await;
            Ok(())
        });
        tasks.spawn(async {
            source.follow(stopping).await;
            Ok(())
        });

        // Last of all: who reads an address can call it.
        for (name, address) in [("address", address), ("admin-address", admin_address)] {
            let path = config.state.join(name);
            state::write(&path, address.to_string().as_bytes(), 0o644)
                .map_err(|error| failed(&path, error))?;
        }
        tracing::info!(%address, admin = %admin_address, "weft-control is ready");
        Ok(Self { address, admin_address, index, stop, tasks })
    }

    /// Where the gRPC services listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/ready`, `/live` and `/metrics` are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The index that all services answer from.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Runs until `stop` is done, then ends streams and lets calls finish.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::select! {
            () = stop => {}
            // No part ends by itself unless it failed.
            ended = self.tasks.join_next() => finished(ended)?,
        }
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            finished(Some(ended))?;
        }
        Ok(())
    }
}

type Ended = Result<Result<(), tonic::transport::Error>, tokio::task::JoinError>;

fn finished(ended: Option<Ended>) -> Result<(), Error> {
    match ended {
        Some(Ok(result)) => Ok(result?),
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Some(Err(_)) | None => Ok(()),
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
