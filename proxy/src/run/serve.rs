//! Serves until there is a reason to stop.

use tracing::info;

use super::{build::Node, ready_file, signals::Signals};
use crate::handover::HandoverState;

/// Why the proxy stops serving.
pub(super) enum Stop {
    /// SIGTERM or SIGINT.
    Signal,
    /// A successor serves.
    TakenOver,
    /// The predecessor keeps serving.
    TakeoverFailed(anyhow::Error),
    /// An internal task has ended: the process cannot do its work any more.
    TaskFailed(anyhow::Error),
}

impl Node {
    /// Takes charge of the node, then serves.
    pub(super) async fn serve(&mut self, signals: &mut Signals) -> Stop {
        let mut handover = self.handover.clone();
        let mut tasks = std::mem::take(&mut self.tasks);
        let stop = tokio::select! {
            signal = signals.next() => {
                info!(signal, "draining");
                Stop::Signal
            }
            stop = self.take_charge_and_wait(&mut handover) => stop,
            error = tasks.failed() => Stop::TaskFailed(error),
        };
        self.tasks = tasks;
        stop
    }

    async fn take_charge_and_wait(
        &mut self,
        handover: &mut tokio::sync::watch::Receiver<HandoverState>,
    ) -> Stop {
        if let Err(error) = self.take_charge().await {
            return Stop::TakeoverFailed(error);
        }
        self.offer_listeners();
        if let Some(path) = self.config.ready_file.clone() {
            tokio::spawn(ready_file::write_when_ready(path, self.supervisor.clone()));
        }
        if handover.wait_for(|state| *state == HandoverState::Completed).await.is_err() {
            // Nobody can take over.
            return std::future::pending().await;
        }
        info!("a successor has taken over: draining");
        Stop::TakenOver
    }
}
