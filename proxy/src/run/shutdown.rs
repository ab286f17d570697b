//! Ends the process without cutting connections.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::{build::Node, control_plane::watch_config, serve::Stop, signals::Signals};
use crate::{
    capture,
    handover::HandoverState,
    lifecycle::{Draining, Role},
};

/// Pause between two steps of the shutdown: connections on their way still arrive at the listeners.
const STEP_PAUSE: Duration = Duration::from_millis(100);

impl Node {
    /// Stops accepting connections and waits for the open ones.
    ///
    /// # Errors
    /// Why the proxy had to stop, unless it was told to.
    pub(super) async fn shutdown(self, stop: Stop, signals: &mut Signals) -> anyhow::Result<()> {
        if let Stop::TaskFailed(error) = stop {
            return self.crash(error);
        }
        // A successor that has asked for the listeners is waited for: it may be the reason for the signal.
        let mut handover = self.handover.clone();
        while *handover.borrow_and_update() == HandoverState::InProgress && handover.changed().await.is_ok() {
        }
        let taken_over = *handover.borrow() == HandoverState::Completed;
        self.heartbeat.abort();
        // Otherwise the heartbeat is the successor's, or still the predecessor's.
        if !taken_over && self.predecessor.is_none() {
            self.leave().await;
        }
        if taken_over {
            // Programs of another version lead connections to the successor's own listeners only from now on.
            sleep(STEP_PAUSE).await;
        }
        // A successor has the admin socket too; somebody else may want the port.
        self.admin.abort();
        self.data_path.draining.cancel();
        self.control_tasks.iter().chain(&self.runtime_task).for_each(tokio::task::AbortHandle::abort);
        let client = self.control.client.clone();
        let issuer = self.control.issuer.clone();
        let following = Draining::new(watch_config(&self.config), client, issuer, &self.registry);
        // Accept loops serve what is waiting, and the sessions by which this proxy served the node end.
        sleep(STEP_PAUSE).await;
        // Both end with the process.
        tokio::spawn(self.control.sessions(&self.config, Role::Draining));
        tokio::spawn(following.run());
        let is_told = !matches!(stop, Stop::TakenOver);
        let mut draining = Drain { signals, ignore_first: taken_over, is_told };
        draining.wait(&self.data_path.connections, self.config.drain_timeout).await;
        if taken_over && self.config.stay_until_signal {
            draining.wait_until_told().await;
        }
        if !taken_over && self.predecessor.is_none() && self.supervisor.is_idle() {
            self.remove_pins();
        }
        match stop {
            Stop::TakeoverFailed(error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Tells peers and the kernel that nobody serves this node any more.
    async fn leave(&self) {
        // Peers first: to pods that fail open, mTLS is of no use from here on.
        self.leaving.cancel();
        sleep(STEP_PAUSE).await;
        // New connections follow their fail mode before the listeners are closed.
        self.stop_heartbeat();
        sleep(STEP_PAUSE).await;
    }

    /// Ends at once: who restarts the process brings the node back sooner than a drain would end.
    fn crash(&self, error: anyhow::Error) -> anyhow::Result<()> {
        error!(error = format!("{error:#}"), "ending the process");
        self.heartbeat.abort();
        if self.predecessor.is_none() && *self.handover.borrow() != HandoverState::Completed {
            self.stop_heartbeat();
        }
        Err(error)
    }

    /// Without pods there is no fail mode to keep, and nothing else may ever remove what is attached.
    fn remove_pins(&self) {
        match capture::cleanup(&self.config.bpffs, &self.config.node) {
            Ok(()) => info!("no pod of this node is meshed: the programs are detached"),
            Err(error) => warn!(%error, "the programs stay attached"),
        }
    }

    fn stop_heartbeat(&self) {
        if let Err(error) = self.capture.stop_beating() {
            warn!(%error, "failed to tell the kernel that the proxy ends");
        }
    }
}

/// Waits for the end of connections, and for signals.
struct Drain<'a> {
    signals: &'a mut Signals,
    /// The first signal does not count: whoever starts a successor sends it to the predecessor.
    ignore_first: bool,
    /// The process has been told to end.
    is_told: bool,
}

impl Drain<'_> {
    /// Waits until all connections have ended, for `limit` at most, or until a signal.
    async fn wait(&mut self, connections: &TaskTracker, limit: Duration) {
        info!(open = connections.len(), ?limit, "waiting for connections to end");
        connections.close();
        let end = sleep(limit);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = connections.wait() => return info!("all connections have ended"),
                () = &mut end => {
                    return warn!(open = connections.len(), "drain timeout: resetting the open connections");
                }
                signal = self.signals.next() => {
                    self.is_told = true;
                    if !self.ignore_first {
                        return warn!(signal, open = connections.len(), "a second signal: resetting the open connections");
                    }
                    info!(signal, "already draining");
                    self.ignore_first = false;
                }
            }
        }
    }

    /// Waits for a signal, unless there was one.
    async fn wait_until_told(&mut self) {
        if !self.is_told {
            info!("waiting for the signal to end");
            let signal = self.signals.next().await;
            info!(signal, "ending");
        }
    }
}
