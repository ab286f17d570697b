//! Drops handshakes that were under way when their grant was revoked.
//!
//! A granted handshake is one with the application itself: the proxy is not asked when it completes, and a pod with
//! NET_ADMIN can delay its own side for a minute. So the handshake is dropped.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;
use tracing::{debug, error};

use super::{DirectConnections, grant::Grant};
use crate::workload::Workload;

/// A SYN that was let pass just before its pass was withdrawn has become a handshake by then.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(1);

impl DirectConnections {
    /// What `changed` does not admit any more is ended, handshakes of the node's pods with it included, and its own
    /// with those that passes led it to: now, and a moment later what has just slipped through.
    pub(super) fn revoke_for(self: &Arc<Self>, changed: &Arc<Workload>, revoked: Vec<Arc<Grant>>) {
        self.revoke_now(changed, &revoked);
        let (passes, changed) = (Arc::downgrade(self), Arc::downgrade(changed));
        tokio::spawn(async move {
            sleep(HANDSHAKE_TIME).await;
            let again = tokio::task::spawn_blocking(move || {
                let (Some(passes), Some(changed)) = (passes.upgrade(), changed.upgrade()) else { return };
                passes.revoke_now(&changed, &revoked);
            });
            if let Err(error) = again.await {
                error!(%error, "a second look at withdrawn passes did not come to its end");
            }
        });
    }

    fn revoke_now(&self, changed: &Arc<Workload>, revoked: &[Arc<Grant>]) {
        let mut destinations: HashMap<u64, Arc<Workload>> = revoked
            .iter()
            .flat_map(|grant| grant.targets())
            .filter_map(|target| self.registry.at(target))
            .map(|workload| (workload.netns.cookie(), workload))
            .collect();
        let own = changed.ips.first().and_then(|ip| self.registry.at((*ip, 0).into()));
        let is_served = own.is_some_and(|own| Arc::ptr_eq(&own, changed));
        if is_served {
            destinations.insert(changed.netns.cookie(), changed.clone());
        }
        for destination in destinations.values() {
            // What comes from elsewhere is the proxy's, and may go on.
            self.drop_handshakes(destination, |remote, _| {
                changed.ips.contains(&remote.ip()) || self.registry.at(remote).is_some()
            });
        }
        // After the handshakes: what has got through is among the open ones now.
        if is_served {
            self.end_denied(changed, &self.capture.open_direct(), true);
        }
    }

    /// Drops handshakes with the application of `destination`, by who began them and for which port.
    pub(super) fn drop_handshakes(&self, destination: &Workload, which: impl Fn(SocketAddr, u16) -> bool) {
        let ended = self.capture.half_open(&destination.netns).and_then(|mut sockets| {
            sockets.retain(|(local, remote, _)| which(*remote, local.port()));
            self.capture.destroy(&destination.netns, &sockets)
        });
        match ended {
            Ok(0) => {}
            Ok(ended) => debug!(destination = %destination.key, ended, "handshakes were dropped"),
            Err(error) => {
                self.counters.not_terminated.fetch_add(1, Ordering::Relaxed);
                error!(destination = %destination.key, %error, "handshakes with the application could not be dropped (does the kernel have CONFIG_INET_DIAG_DESTROY?)");
            }
        }
    }
}
