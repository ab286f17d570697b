//! Takes over the direct connections of an earlier proxy.
//!
//! Each proxy makes its own grants. Connections under an earlier proxy's grants may be open or opening, and policy may
//! have changed while no proxy ran, so they are checked again.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use tokio::{task::spawn_blocking, time::sleep};
use tracing::error;
use weft_common::DirectSocket;

use super::{DirectConnections, revoke::HANDSHAKE_TIME};
use crate::policy::Client;

impl DirectConnections {
    /// Starts to make grants, and revokes those of other proxies. If there was a predecessor, the SYNs under its grants
    /// are given [`HANDSHAKE_TIME`] to arrive.
    pub fn start_granting(self: &Arc<Self>, has_predecessor: bool) {
        self.granting.store(true, Ordering::Release);
        if !has_predecessor {
            return self.revoke_others();
        }
        let bypass = self.clone();
        tokio::spawn(async move {
            sleep(HANDSHAKE_TIME).await;
            bypass.revoke_others();
        });
    }

    /// Whether grants are made: no predecessor serves (any more).
    pub fn is_granting(&self) -> bool {
        self.granting.load(Ordering::Acquire)
    }

    fn revoke_others(&self) {
        if let Err(error) = self.capture.revoke_others(|id| (id >> 32) as u32 == self.generation) {
            error!(%error, "failed to revoke the grants of earlier proxies; they stay in the kernel's maps");
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Continues after a successor has failed to take over. Events of the meantime went to the successor.
    pub fn resume(&self) {
        self.drop_closed(self.capture.lost_events());
    }

    /// Terminates connections that were opened before this proxy served both ends and that policy does not allow. With
    /// `unknown_clients`, this includes clients that this node does not serve; right after a start, not all clients are
    /// known.
    pub async fn reevaluate(self: &Arc<Self>, unknown_clients: bool) {
        let bypass = self.clone();
        let reevaluated = spawn_blocking(move || bypass.reevaluate_now(unknown_clients)).await;
        if let Err(error) = reevaluated {
            error!(%error, "failed to re-check existing connections");
        }
    }

    fn reevaluate_now(&self, unknown_clients: bool) {
        let open = self.capture.open_direct();
        let ends = open.iter().filter(|(_, end)| end.side == DirectSocket::DESTINATION);
        let destinations: HashSet<_> = ends.map(|(_, end)| end.local.into()).collect();
        let mut checked = HashSet::new();
        for destination in destinations.into_iter().filter_map(|address| self.registry.at(address)) {
            if checked.insert(destination.netns.cookie()) {
                self.end_denied(&destination, &open, unknown_clients);
            }
        }
        for destination in self.registry.all() {
            self.drop_handshakes(&destination, |remote, port| {
                self.registry.at(remote).is_some_and(|source| {
                    let client = Client { ip: remote.ip(), identity: Some(&source.identity) };
                    let target = SocketAddr::new(remote.ip(), port);
                    !self.authorizer.decide(&destination, target, client).admits()
                })
            });
        }
    }
}
