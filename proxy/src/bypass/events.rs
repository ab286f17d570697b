//! Counts direct connections by the kernel's events, and terminates those that policy no longer allows.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, error, warn};
use weft_common::{DirectEvent, DirectSocket, OpenDirect};

use super::{DirectConnections, REVOKED_KEPT, grant::Grant};
use crate::{
    capture::{DirectEvents, TcpSocket},
    metrics::{OpenConn, Tls},
    policy::{Client, Decision},
    workload::Workload,
};

/// The maximum number of open ends that are counted: more than the kernel's map of open connections holds.
const MAX_OPEN: usize = 262_144;
const TICK: Duration = Duration::from_secs(5);
const TCP_FIN_WAIT2: u32 = 5;
const TCP_LAST_ACK: u32 = 9;
const TCP_CLOSING: u32 = 11;

/// The open ends of direct connections, by socket cookie.
#[derive(Default)]
pub(super) struct OpenConnections {
    open: HashMap<u64, OpenEnd>,
    /// Ends that were closed because the policy changed.
    denied: HashSet<u64>,
    /// How many events the kernel had lost at the last check.
    lost_events: u64,
}

struct OpenEnd {
    /// For the leg towards the client and the leg towards the destination.
    counters: [OpenConn; 2],
    /// 0: the source's end, 1: the destination's.
    side: usize,
}

impl DirectConnections {
    /// Processes the kernel's events. Returns only if they can no longer be read.
    pub async fn follow_events(self: Arc<Self>, mut events: DirectEvents) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                read = events.each(|event| self.on_event(event)) => {
                    if let Err(error) = read {
                        error!(%error, "failed to read events of direct connections; they are no longer counted");
                        return std::future::pending().await;
                    }
                }
                _ = tick.tick() => self.tick(),
            }
        }
    }

    fn on_event(&self, event: &DirectEvent) {
        let side = usize::from(event.side == DirectSocket::DESTINATION);
        match event.kind {
            DirectEvent::OPENED => {
                // If the grant is not known (yet), the event of the close has everything that is counted.
                if let Some(open) = self.open(event, side) {
                    self.open_ends.lock().open.insert(event.cookie, open);
                }
            }
            DirectEvent::CLOSED => self.closed(event, side),
            DirectEvent::FAILED => {
                // No other event reports this connection: it was never open.
                let errno = if event.retransmits == 0 { "ECONNREFUSED" } else { "ETIMEDOUT" };
                match self.grant(event.pass) {
                    Some(grant) => grant.refused(errno),
                    None => self.unattributed(),
                }
            }
            DirectEvent::FORGED => self.forged(event),
            _ => {}
        }
    }

    fn open(&self, event: &DirectEvent, side: usize) -> Option<OpenEnd> {
        let full = self.open_ends.lock().open.len() >= MAX_OPEN;
        let grant = self.grant(event.pass).filter(|_| !full);
        let counters = grant.and_then(|grant| match side {
            0 => grant.open_source(event.backend),
            _ => grant.open_destination(&self.metrics, event.backend),
        })?;
        self.counters.opened[side].fetch_add(1, Ordering::Relaxed);
        self.counters.open[side].fetch_add(1, Ordering::Relaxed);
        Some(OpenEnd { counters, side })
    }

    fn closed(&self, event: &DirectEvent, side: usize) {
        let (known, denied) = {
            let mut open_ends = self.open_ends.lock();
            (open_ends.open.remove(&event.cookie), open_ends.denied.remove(&event.cookie))
        };
        // The event of its opening may have been lost.
        let Some(OpenEnd { counters: [source, destination], side }) =
            known.or_else(|| self.open(event, side))
        else {
            self.unattributed();
            return;
        };
        self.counters.open[side].fetch_sub(1, Ordering::Relaxed);
        let (forward, backward) =
            if side == 0 { (event.sent, event.received) } else { (event.received, event.sent) };
        source.read(forward);
        destination.wrote(forward);
        destination.read(backward);
        source.wrote(backward);
        // Round-trip time and retransmissions belong to the leg between the two pods.
        let between_pods = if side == 0 { &destination } else { &source };
        if event.rtt > 0 {
            between_pods.rtt(Duration::from_micros(event.rtt.into()));
        }
        between_pods.retransmits(event.retransmits.into());
        let orderly = matches!(event.state, TCP_FIN_WAIT2 | TCP_LAST_ACK | TCP_CLOSING);
        let errno = match (denied, orderly) {
            (true, _) => Some("EACCES"),
            (false, true) => None,
            (false, false) => Some("ECONNRESET"),
        };
        debug!(pass = event.pass, side, sent = event.sent, received = event.received, duration = ?Duration::from_nanos(event.duration), errno, "direct connection closed");
        source.close(errno);
        destination.close(errno);
    }

    /// A different peer completed the handshake. The eBPF program has isolated the accepted socket; this destroys it.
    fn forged(&self, event: &DirectEvent) {
        let (local, remote) = (SocketAddr::from(event.ends.local), SocketAddr::from(event.ends.remote));
        let workload = self.registry.at(local).filter(|workload| workload.netns.cookie() == event.ends.netns);
        let name = workload.as_ref().map(|workload| workload.key.to_string());
        warn!(destination = name, addr = %local, client = %remote, "direct connection closed: handshake completed by a different peer (possible spoofing)");
        if let Some(workload) = workload {
            self.end(&workload, &[TcpSocket { local, remote, cookie: event.cookie }]);
        }
    }

    /// Terminates those of the `open` connections to `workload` that its policy no longer allows. Connections from
    /// clients that this node does not serve are checked only with `unknown_clients`.
    pub(super) fn end_denied(
        &self,
        workload: &Arc<Workload>,
        open: &[(u64, OpenDirect)],
        unknown_clients: bool,
    ) {
        let netns = workload.netns.cookie();
        let mut denied = Vec::new();
        for (cookie, end) in open {
            if end.netns != netns || end.side != DirectSocket::DESTINATION {
                continue;
            }
            let (local, remote) = (SocketAddr::from(end.local), SocketAddr::from(end.remote));
            let source = self.registry.at(remote);
            if source.is_none() && !unknown_clients {
                continue;
            }
            let tls = source.map_or(Tls::Anonymous, |source| Tls::Local(source.identity.clone()));
            let client = Client { ip: remote.ip(), identity: tls.identity() };
            if let Decision::Deny(reason) = self.authorizer.decide(workload, local, client) {
                self.authorizer.terminated(workload, local, remote.ip(), &tls, reason);
                denied.push(TcpSocket { local, remote, cookie: *cookie });
            }
        }
        if denied.is_empty() {
            return;
        }
        {
            let mut open_ends = self.open_ends.lock();
            let known: Vec<u64> = denied
                .iter()
                .map(|socket| socket.cookie)
                .filter(|c| open_ends.open.contains_key(c))
                .collect();
            open_ends.denied.extend(known);
        }
        self.end(workload, &denied);
    }

    fn end(&self, workload: &Workload, sockets: &[TcpSocket]) {
        match self.capture.destroy(&workload.netns, sockets) {
            Ok(ended) => {
                self.counters.terminated.fetch_add(ended as u64, Ordering::Relaxed);
            }
            Err(error) => {
                self.counters.not_terminated.fetch_add(sockets.len() as u64, Ordering::Relaxed);
                error!(destination = %workload.key, connections = sockets.len(), %error, "failed to terminate direct connections; they continue (does the kernel have CONFIG_INET_DIAG_DESTROY?)");
            }
        }
    }

    fn grant(&self, id: u64) -> Option<Arc<Grant>> {
        self.table.lock().by_id.get(&id).cloned()
    }

    fn unattributed(&self) {
        self.counters.unattributed.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops grants that were revoked long ago, and connections whose closing event was lost.
    fn tick(&self) {
        {
            let mut table = self.table.lock();
            while let Some((since, id)) = table.revoked.front().copied()
                && since.elapsed() > REVOKED_KEPT
            {
                table.revoked.pop_front();
                table.by_id.remove(&id);
            }
        }
        let lost = self.capture.lost_events();
        if std::mem::replace(&mut self.open_ends.lock().lost_events, lost) != lost {
            self.drop_closed(lost);
        }
    }

    /// Drops connections that have closed without an event reaching this proxy. `lost` is the number of lost events.
    pub(super) fn drop_closed(&self, lost: u64) {
        let cookies: Vec<u64> = self.open_ends.lock().open.keys().copied().collect();
        let started = Instant::now();
        let closed_ends: Vec<u64> =
            cookies.into_iter().filter(|cookie| !self.capture.is_open_direct(*cookie)).collect();
        warn!(lost, closed_ends = closed_ends.len(), took = ?started.elapsed(), "events of direct connections were lost; metrics of some connections are incomplete");
        let mut open_ends = self.open_ends.lock();
        for cookie in closed_ends {
            open_ends.denied.remove(&cookie);
            if let Some(open) = open_ends.open.remove(&cookie) {
                self.counters.open[open.side].fetch_sub(1, Ordering::Relaxed);
                self.counters.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
