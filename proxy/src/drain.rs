//! How does the process end without cutting connections?

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};
use tracing::{info, warn};

use crate::app::Connections;

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they do not end the process by themselves.
    pub fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one; its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits until all connections have ended, for `limit` at most, or until a signal says that it is enough.
/// `forgiven`: the first signal does not say so; whoever started a successor sends it to the one that is relieved.
pub async fn drain(connections: &Connections, limit: Duration, signals: &mut Signals, mut forgiven: bool) {
    info!(open = connections.count(), ?limit, "waiting for connections to end");
    let end = sleep(limit);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = connections.none() => return info!("all connections have ended"),
            () = &mut end => {
                return warn!(open = connections.count(), "drain timeout: resetting the connections that are left");
            }
            signal = signals.next() => {
                if !forgiven {
                    return warn!(signal, open = connections.count(), "a second signal: resetting the connections that are left");
                }
                info!(signal, "draining already");
                forgiven = false;
            }
        }
    }
}
