//! Answers requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frame;

/// Further connections wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;
/// How long requests in progress may take after a stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Arguments of `weft-demo server`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, default_value = "[::]:9090")]
    listen: SocketAddr,
    /// The name to sign responses with
    #[arg(long, default_value = "server")]
    name: String,
}

/// Serves until `stop` changes.
pub(crate) async fn run(args: Args, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("{} listens on {}", args.name, listener.local_addr()?);
    let name: Arc<str> = args.name.into();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let slot = slots.clone().acquire_owned().await.context("the semaphore is never closed")?;
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        // Forgets connections that ended.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let (name, stop) = (name.clone(), stop.clone());
                connections.spawn(async move {
                    if let Err(error) = serve(stream, &name, stop).await {
                        println!("connection from {peer}: {error}");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                // For example no free descriptors, which is temporary.
                println!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    // Connections that have not ended by then are closed.
    let _ = timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
    println!("{name} stopped");
    Ok(())
}

async fn serve(mut stream: TcpStream, name: &str, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut first = [0];
        tokio::select! {
            peeked = stream.peek(&mut first) => peeked?,
            _ = stop.changed() => return Ok(()),
        };
        match frame::read(&mut stream).await? {
            Some(request) => frame::write(&mut stream, name, &request.payload).await?,
            None => return Ok(()),
        }
    }
}
