//! What happens to direct connections when one proxy takes over from another.
//!
//! Each proxy makes its own grants. But connections that an earlier proxy granted are open or being opened, and policies
//! may have changed while no proxy ran.

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
    /// Grants passes from now on. Those of others are void: at once, or if there was a predecessor, when the SYNs that it
    /// let pass have arrived.
    pub fn start_granting(self: &Arc<Self>, relieves: bool) {
        self.granting.store(true, Ordering::Release);
        if !relieves {
            return self.revoke_others();
        }
        let passes = self.clone();
        tokio::spawn(async move {
            sleep(HANDSHAKE_TIME).await;
            passes.revoke_others();
        });
    }

    /// Whether passes are granted: there is no predecessor, or none any more.
    pub fn is_granting(&self) -> bool {
        self.granting.load(Ordering::Acquire)
    }

    fn revoke_others(&self) {
        if let Err(error) = self.capture.revoke_others(|id| (id >> 32) as u32 == self.generation) {
            error!(%error, "passes of earlier proxies are still in the kernel's books");
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A successor was given up: what connections told meanwhile, they told it.
    pub fn resume(&self) {
        self.count_again(self.capture.lost_events());
    }

    /// What policy would not admit now, of what was opened before this proxy served both ends, is ended. `strangers`:
    /// also if it comes from nobody who is served; they may all be known only later.
    pub async fn reevaluate(self: &Arc<Self>, unknown_clients: bool) {
        let passes = self.clone();
        let reevaluated = spawn_blocking(move || passes.reevaluate_now(unknown_clients)).await;
        if let Err(error) = reevaluated {
            error!(%error, "connections of before were not all looked at");
        }
    }

    fn reevaluate_now(&self, unknown_clients: bool) {
        let live = self.capture.open_direct();
        let ends = live.iter().filter(|(_, end)| end.side == DirectSocket::DESTINATION);
        let destinations: HashSet<_> = ends.map(|(_, end)| end.local.into()).collect();
        let mut looked_at = HashSet::new();
        for destination in destinations.into_iter().filter_map(|address| self.registry.at(address)) {
            if looked_at.insert(destination.netns.cookie()) {
                self.end_denied(&destination, &live, unknown_clients);
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
