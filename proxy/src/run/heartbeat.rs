//! Tells the kernel side that the proxy is alive.

use std::sync::Arc;

use tokio::time::interval;
use tracing::warn;

use crate::capture::Capture;

/// Sends heartbeats until it is aborted.
pub(super) async fn send(capture: Arc<Capture>) {
    let mut ticks = interval(capture.beat_every());
    loop {
        ticks.tick().await;
        if let Err(error) = capture.beat() {
            warn!(%error, "failed to send the heartbeat to the kernel");
        }
    }
}
