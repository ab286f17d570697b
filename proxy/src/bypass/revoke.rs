//! Drops handshakes that are in progress when their grant is revoked.
//!
//! The handshake of a direct connection is with the application itself. The proxy is not asked when it completes, and a
//! pod with NET_ADMIN can delay it for a minute.

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

/// After this time, a SYN that the kernel let through just before the revocation is visible as a handshake.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(1);

impl DirectConnections {
    /// Terminates connections to `changed` that it no longer allows, and drops handshakes with it and with the backends
    /// of the revoked grants. Repeats this after [`HANDSHAKE_TIME`], for SYNs that were on their way.
    pub(super) fn revoke_for(self: &Arc<Self>, changed: &Arc<Workload>, revoked: Vec<Arc<Grant>>) {
        self.revoke_now(changed, &revoked);
        let (bypass, changed) = (Arc::downgrade(self), Arc::downgrade(changed));
        tokio::spawn(async move {
            sleep(HANDSHAKE_TIME).await;
            let again = tokio::task::spawn_blocking(move || {
                let (Some(bypass), Some(changed)) = (bypass.upgrade(), changed.upgrade()) else { return };
                bypass.revoke_now(&changed, &revoked);
            });
            if let Err(error) = again.await {
                error!(%error, "failed to repeat a revocation of direct connections");
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
        let served = changed.ips.first().and_then(|ip| self.registry.at((*ip, 0).into()));
        let is_served = served.is_some_and(|served| Arc::ptr_eq(&served, changed));
        if is_served {
            destinations.insert(changed.netns.cookie(), changed.clone());
        }
        for destination in destinations.values() {
            // Handshakes of other clients are with the proxy and continue.
            self.drop_handshakes(destination, |remote, _| {
                changed.ips.contains(&remote.ip()) || self.registry.at(remote).is_some()
            });
        }
        // After the handshakes: those that completed meanwhile are open connections now.
        if is_served {
            self.end_denied(changed, &self.capture.open_direct(), true);
        }
    }

    /// Drops handshakes with the application of `destination` that match the client's address and the port.
    pub(super) fn drop_handshakes(
        &self,
        destination: &Workload,
        is_affected: impl Fn(SocketAddr, u16) -> bool,
    ) {
        let ended = self.capture.half_open(&destination.netns).and_then(|mut sockets| {
            sockets.retain(|socket| is_affected(socket.remote, socket.local.port()));
            self.capture.destroy(&destination.netns, &sockets)
        });
        match ended {
            Ok(0) => {}
            Ok(ended) => {
                debug!(destination = %destination.key, ended, "dropped handshakes of direct connections")
            }
            Err(error) => {
                self.counters.not_terminated.fetch_add(1, Ordering::Relaxed);
                error!(destination = %destination.key, %error, "failed to drop handshakes with the application (does the kernel have CONFIG_INET_DIAG_DESTROY?)");
            }
        }
    }
}
