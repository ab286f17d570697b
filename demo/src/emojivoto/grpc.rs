//! Runs a gRPC server and its metrics until the program is to stop.

use std::convert::Infallible;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::{Server, server::TcpIncoming};

use super::http::{DRAIN_TIMEOUT, listen};
use super::metrics::Metrics;

/// The ports of emoji and voting.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Ports {
    /// Where gRPC is served
    #[arg(long, env, default_value_t = 8080)]
    pub(crate) grpc_port: u16,
    /// Where /metrics is served
    #[arg(long, env, default_value_t = 8801)]
    pub(crate) prom_port: u16,
}

/// Serves `service` and the metrics until `stop` changes. Then calls in progress are answered.
pub(crate) async fn serve<S>(
    service: S,
    metrics: Metrics,
    ports: &Ports,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()>
where
    S: GrpcService,
    S::Future: Send + 'static,
{
    let listener = listen(ports.grpc_port, "--grpc-port (GRPC_PORT)").await?;
    println!("{} listens on {}", S::NAME, listener.local_addr()?);
    tokio::try_join!(metrics.serve(ports.prom_port, stop.clone()), serve_on(listener, service, stop))?;
    println!("{} stopped", S::NAME);
    Ok(())
}

/// Serves `service`, and grpc.health.v1 for probes.
pub(crate) async fn serve_on<S>(
    listener: TcpListener,
    service: S,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()>
where
    S: GrpcService,
    S::Future: Send + 'static,
{
    let mut stopping = stop.clone();
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<S>().await;
    let server = Server::builder().add_service(health).add_service(service).serve_with_incoming_shutdown(
        TcpIncoming::from(listener).with_nodelay(Some(true)),
        async move {
            // An error means that the program ends.
            let _ = stopping.changed().await;
            reporter.set_not_serving::<S>().await;
        },
    );
    let deadline = async {
        let _ = stop.changed().await;
        sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        served = server => served.context("the gRPC server failed"),
        // Connections that have not ended by then are closed.
        () = deadline => Ok(()),
    }
}

/// What tonic serves.
pub(crate) trait GrpcService:
    Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GrpcService for S where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}
