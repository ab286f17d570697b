//! Takes over from a predecessor, and offers the listeners to a successor.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use tracing::warn;

use super::{
    build::Node,
    host::{ADMIN_KEY, write_address},
};
use crate::{
    capture::{Listener, Listeners},
    handover,
    net::Direction,
};

/// How long the workloads of a predecessor may take to be served before it is told to go.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(20);

impl Node {
    /// Becomes the proxy in charge of the node: at once, or when the predecessor has given way.
    ///
    /// # Errors
    /// The predecessor keeps serving.
    pub(super) async fn take_charge(&mut self) -> anyhow::Result<()> {
        let Some(predecessor) = self.predecessor.as_ref() else {
            self.write_addresses()?;
            self.bypass.start_granting(false);
            return Ok(());
        };
        if !self.supervisor.taken_over(TAKEOVER_TIMEOUT).await {
            return Err(anyhow!(
                "not all workloads of the running proxy were taken over within {TAKEOVER_TIMEOUT:?} (is the control plane away?); it keeps serving"
            ));
        }
        tokio::task::block_in_place(|| predecessor.ready())
            .context("the running proxy has given up on this one and keeps serving")?;
        self.predecessor = None;
        self.bypass.start_granting(true);
        self.capture.drop_other_versions();
        // Not before: had this proxy failed, the predecessor would still be the one to ask.
        if let Err(error) = self.write_addresses() {
            warn!(%error, "failed to write the addresses; serving all the same");
        }
        Ok(())
    }

    fn write_addresses(&self) -> anyhow::Result<()> {
        let folder = &self.config.state_dir;
        if let Some(address) = self.tap_address {
            write_address(folder, "tap-address", address)?;
        }
        // Last: whoever starts the proxy waits for this file.
        write_address(folder, "admin-address", self.admin_address)
    }

    /// Lets successors take over from this proxy.
    pub(super) fn offer_listeners(&mut self) {
        let Some((state, admin)) = self.handover_state.take().zip(self.admin_socket.take()) else { return };
        let admin =
            Arc::new(Listeners(vec![Listener { direction: Direction::Inbound, v6: false, socket: admin }]));
        let listeners = {
            let supervisor = self.supervisor.clone();
            move || {
                let mut listeners = supervisor.hand_over();
                listeners.insert(ADMIN_KEY, admin.clone());
                listeners
            }
        };
        let supervisor = self.supervisor.clone();
        let resume = move || supervisor.resume();
        if let Err(error) = handover::offer(&self.config.state_dir, listeners, resume, state) {
            warn!(%error, "no successor will be able to take over");
        }
    }
}
