//! Keeps a connection to the container runtime, and connects again whenever it ends.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::net::UnixStream;
use tracing::{debug, info, warn};

use super::{sandbox::PodEvents, session};
use crate::net::Backoff;

const MIN_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(5);

/// The state of the connection to the container runtime.
#[derive(Debug, Default)]
pub struct Connection {
    /// The runtime has named all its pods, and tells of new ones.
    synchronized: AtomicBool,
    lost: AtomicU64,
}

impl Connection {
    /// Whether what the runtime has told is all that there is.
    pub fn is_synchronized(&self) -> bool {
        self.synchronized.load(Ordering::Acquire)
    }

    /// How often a connection was lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The plugin.
pub struct Plugin<P> {
    socket: PathBuf,
    pods: Arc<P>,
    connection: Arc<Connection>,
}

impl<P: PodEvents> Plugin<P> {
    pub fn new(socket: PathBuf, pods: Arc<P>, connection: Arc<Connection>) -> Self {
        Self { socket, pods, connection }
    }

    /// Serves until dropped.
    pub async fn run(self) {
        let mut backoff = Backoff::new(MIN_RETRY, MAX_RETRY);
        let mut reported = String::new();
        let path = self.socket.display();
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => {
                    reported.clear();
                    let ended =
                        session::serve(stream, self.pods.clone(), &self.connection.synchronized).await;
                    if self.connection.synchronized.swap(false, Ordering::AcqRel) {
                        backoff.reset();
                    }
                    self.connection.lost.fetch_add(1, Ordering::Relaxed);
                    warn!(%path, reason = %ended, "the connection to the container runtime (NRI) has ended; connecting again");
                }
                Err(error) => {
                    let reason = error.to_string();
                    if reported == reason {
                        debug!(%path, reason, "the container runtime does not answer (NRI)");
                    } else if error.kind() == io::ErrorKind::NotFound {
                        info!(%path, "the container runtime offers no NRI socket: pods are found by their processes, some time after they have started");
                    } else {
                        warn!(%path, reason, "the container runtime does not answer (NRI): pods are found by their processes, some time after they have started");
                    }
                    reported = reason;
                }
            }
            backoff.pause().await;
        }
    }
}
