//! How do passes go from one proxy to the next?
//!
//! They do not: each grants its own. But connections that an earlier proxy let pass are open or being opened, and
//! policy may have changed while none ran.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use tokio::{task::spawn_blocking, time::sleep};
use tracing::error;
use weft_common::DirectSocket;

use super::{Passes, settle::SETTLED};
use crate::policy::Client;

impl Passes {
    /// Grants passes from now on. Those of others are void: at once, or if there was a predecessor, when the SYNs that it
    /// let pass have arrived.
    pub fn begin(self: &Arc<Self>, relieves: bool) {
        self.granting.store(true, Ordering::Release);
        if !relieves {
            return self.withdraw_others();
        }
        let passes = self.clone();
        tokio::spawn(async move {
            sleep(SETTLED).await;
            passes.withdraw_others();
        });
    }

    /// Whether passes are granted: there is no predecessor, or none any more.
    pub fn begun(&self) -> bool {
        self.granting.load(Ordering::Acquire)
    }

    fn withdraw_others(&self) {
        if let Err(error) = self.capture.withdraw_others(|id| (id >> 32) as u32 == self.generation) {
            error!(%error, "passes of earlier proxies are still in the kernel's books");
            self.figures.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A successor was given up: what connections told meanwhile, they told it.
    pub fn serve_on(&self) {
        self.count_again(self.capture.lost_events());
    }

    /// What policy would not admit now, of what was opened before this proxy served both ends, is ended. `strangers`:
    /// also if it comes from nobody who is served; they may all be known only later.
    pub async fn review(self: &Arc<Self>, strangers: bool) {
        let passes = self.clone();
        let reviewed = spawn_blocking(move || passes.review_now(strangers)).await;
        if let Err(error) = reviewed {
            error!(%error, "connections of before were not all looked at");
        }
    }

    fn review_now(&self, strangers: bool) {
        let live = self.capture.live();
        let ends = live.iter().filter(|(_, end)| end.side == DirectSocket::DESTINATION);
        let destinations: HashSet<_> = ends.map(|(_, end)| end.local.into()).collect();
        let mut looked_at = HashSet::new();
        for destination in destinations.into_iter().filter_map(|address| self.registry.at(address)) {
            if looked_at.insert(destination.netns().cookie()) {
                self.end_denied(&destination, &live, strangers);
            }
        }
        for destination in self.registry.all() {
            self.drop_handshakes(&destination, |remote, port| {
                self.registry.at(remote).is_some_and(|source| {
                    let client = Client { ip: remote.ip(), identity: Some(&source.identity) };
                    let policy = &destination.terms().policies.port(port).policy;
                    !policy.authorize(client, &self.cluster_networks).admits()
                })
            });
        }
    }
}
