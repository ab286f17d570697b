//! Runs a control plane.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    admin,
    config::{Config, Error, SourceConfig},
    index::Index,
    listen::listen,
    mesh::PROXY_ACCOUNT,
    metrics::Metrics,
    parts::{Ended, Listeners, Parts},
    readiness::{ProxyPods, Readiness},
    state,
};

/// A running control plane. Dropping it ends it at once.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    admin_address: SocketAddr,
    index: Arc<Index>,
    tasks: JoinSet<Ended>,
    stop: DropGuard,
}

impl Control {
    /// Starts a control plane. When this returns it is ready, unless it has to wait for node proxies.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let webhook = match &config.source {
            SourceConfig::Manifests(_) => None,
            SourceConfig::Kubernetes(config) => Some(config.webhook),
        };
        let metrics = Metrics::new();
        let readiness = Readiness::new(ProxyPods {
            namespace: config.mesh.control_plane_namespace.clone(),
            service_account: PROXY_ACCOUNT,
        });
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        // First, so that the wait for the API server shows. If the start fails, the set ends the task.
        let (admin_listener, admin_address) = bind(config.admin).await?;
        let admin = admin::serve(admin_listener, metrics.clone(), readiness.clone(), stop.clone());
        tasks.spawn(async {
            admin.await;
            ("the admin server", Ok(()))
        });

        let parts = Parts::build(&config, metrics, readiness).await?;
        // Clients connect only after the index has all objects: an answer from half of them could send traffic past
        // the mesh.
        let (grpc, address) = bind(config.listen).await?;
        let (webhook, webhook_address) = match webhook {
            Some(address) => {
                let (listener, address) = bind(address).await?;
                (Some(listener), Some(address))
            }
            None => (None, None),
        };
        let index = parts.index.clone();
        let identity = parts.own.identity().to_owned();
        parts.spawn(&mut tasks, Listeners { grpc, webhook }, config.identity.lifetime, &stop);

        // The addresses are written last: whoever reads one can connect to it.
        for (name, text) in [
            ("identity", Some(identity)),
            ("webhook-address", webhook_address.map(|address| address.to_string())),
            ("address", Some(address.to_string())),
            ("admin-address", Some(admin_address.to_string())),
        ] {
            let Some(text) = text else { continue };
            let path = config.state.join(name);
            state::write(&path, text.as_bytes(), 0o644)
                .map_err(|error| Error::State { path: path.clone(), error })?;
        }
        tracing::info!(%address, admin = %admin_address, "weft-control runs");
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

/// The result of a task. A panic continues here: tasks are never aborted, so there is no other error.
fn unwrap_panic(ended: Result<Ended, JoinError>) -> Ended {
    match ended {
        Ok(ended) => ended,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let bind = async {
        let listener = listen(address).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind.await.map_err(|error| Error::Listen { address, error })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::index::Served;

    fn control(task: impl Future<Output = Ended> + Send + 'static, stop: &CancellationToken) -> Control {
        let mut tasks = JoinSet::new();
        tasks.spawn(task);
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async {
            stopped.await;
            ("another part", Ok(()))
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let index = Arc::new(Index::new(Served::new()));
        Control { address, admin_address: address, index, tasks, stop: stop.clone().drop_guard() }
    }

    #[tokio::test]
    async fn a_part_that_ends_unexpectedly_ends_the_control_plane_with_an_error() {
        let stop = CancellationToken::new();
        let control = control(async { ("the feed", Ok(())) }, &stop);
        let error = control.run_until(pending()).await.unwrap_err();
        assert_eq!(error.to_string(), "the feed ended unexpectedly");
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    #[should_panic(expected = "broken")]
    async fn a_panic_of_a_part_is_a_panic_of_the_control_plane() {
        let stop = CancellationToken::new();
        let control = control(async { panic!("broken") }, &stop);
        let _ = control.run_until(pending()).await;
    }
}
