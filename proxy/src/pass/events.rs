//! What becomes of connections that go directly?

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, error, warn};
use weft_common::{DirectEvent, DirectLive, DirectSocket};

use super::{LINGER, Passes, route::Route};
use crate::{
    capture::DirectEvents,
    metrics::{AuthzLabels, AuthzOutcome, OpenConn, Tls},
    policy::{Client, Decision},
    workloads::Workload,
};

/// Ends of connections that are followed; more than the kernel's map of live ones holds.
const MOST: usize = 262_144;
const LOOK: Duration = Duration::from_secs(5);
const TCP_FIN_WAIT2: u32 = 5;
const TCP_LAST_ACK: u32 = 9;
const TCP_CLOSING: u32 = 11;

/// The ends that are open, by their sockets' cookies.
#[derive(Default)]
pub(super) struct Opens {
    open: HashMap<u64, Open>,
    /// Those that were ended because policy changed.
    denied: HashSet<u64>,
    lost: u64,
}

struct Open {
    /// To whoever opened the connection, and to whom it is for.
    legs: [OpenConn; 2],
    side: usize,
}

impl Passes {
    /// Counts what the kernel tells, for ever.
    pub async fn follow(self: Arc<Self>, mut events: DirectEvents) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                read = events.each(|event| self.on_event(event)) => {
                    if let Err(error) = read {
                        error!(%error, "what happens to direct connections cannot be read; they are not counted any more");
                        return;
                    }
                }
                _ = look.tick() => self.look(),
            }
        }
    }

    fn on_event(&self, event: &DirectEvent) {
        let side = usize::from(event.side == DirectSocket::DESTINATION);
        match event.kind {
            DirectEvent::OPENED => {
                // Where its pass is not known (yet), its close tells all there is to count.
                if let Some(open) = self.open(event, side) {
                    self.opens.lock().open.insert(event.cookie, open);
                }
            }
            DirectEvent::CLOSED => self.closed(event, side),
            DirectEvent::FAILED => {
                // Nobody else says so: the end was never open.
                let errno = if event.retransmits == 0 { "ECONNREFUSED" } else { "ETIMEDOUT" };
                match self.route(event.pass) {
                    Some(route) => route.refused(errno),
                    None => self.unknown(),
                }
            }
            DirectEvent::FORGED => self.forged(event),
            _ => {}
        }
    }

    fn open(&self, event: &DirectEvent, side: usize) -> Option<Open> {
        let full = self.opens.lock().open.len() >= MOST;
        let route = self.route(event.pass).filter(|_| !full);
        let legs = route.and_then(|route| match side {
            0 => route.open_source(event.backend),
            _ => route.open_destination(&self.metrics, event.backend),
        })?;
        self.figures.opened[side].fetch_add(1, Ordering::Relaxed);
        self.figures.open[side].fetch_add(1, Ordering::Relaxed);
        Some(Open { legs, side })
    }

    fn closed(&self, event: &DirectEvent, side: usize) {
        let (known, denied) = {
            let mut opens = self.opens.lock();
            (opens.open.remove(&event.cookie), opens.denied.remove(&event.cookie))
        };
        // Its opening may have been lost.
        let Some(Open { legs: [source, destination], side }) = known.or_else(|| self.open(event, side))
        else {
            self.unknown();
            return;
        };
        self.figures.open[side].fetch_sub(1, Ordering::Relaxed);
        let (forward, backward) =
            if side == 0 { (event.sent, event.received) } else { (event.received, event.sent) };
        source.read(forward);
        destination.wrote(forward);
        destination.read(backward);
        source.wrote(backward);
        // The leg over the wire: at the source's that to the destination, and the other way round.
        let wire = if side == 0 { &destination } else { &source };
        if event.rtt > 0 {
            wire.rtt(Duration::from_micros(event.rtt.into()));
        }
        wire.retransmits(event.retransmits.into());
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

    /// The kernel has cut the accepted socket off; it is taken from the application.
    fn forged(&self, event: &DirectEvent) {
        let (local, remote) = (SocketAddr::from(event.ends.local), SocketAddr::from(event.ends.remote));
        let workload =
            self.registry.at(local).filter(|workload| workload.netns().cookie() == event.ends.netns);
        let name = workload.as_ref().map(|workload| workload.key.to_string());
        warn!(destination = name, addr = %local, client = %remote, "forged: the handshake of a direct connection was finished by somebody else than who began it; cut off");
        if let Some(workload) = workload {
            self.end(&workload, &[(local, remote, event.cookie)]);
        }
    }

    /// Ends those of the `live` connections to `workload` that it would not admit any more; of those from nobody who is
    /// served only if `strangers` says so.
    pub(super) fn end_denied(&self, workload: &Arc<Workload>, live: &[(u64, DirectLive)], strangers: bool) {
        let netns = workload.netns().cookie();
        let terms = workload.terms();
        let mut denied = Vec::new();
        for (cookie, live) in live {
            if live.netns != netns || live.side != DirectSocket::DESTINATION {
                continue;
            }
            let (local, remote) = (SocketAddr::from(live.local), SocketAddr::from(live.remote));
            let source = self.registry.at(remote);
            if source.is_none() && !strangers {
                continue;
            }
            let identity = source.as_ref().map(|source| &source.identity);
            let port = terms.policies.port(local.port());
            let client = Client { ip: remote.ip(), identity };
            let Decision::Deny(reason) = port.policy.authorize(client, &self.cluster_networks) else {
                continue;
            };
            let tls = identity.map_or(Tls::Anonymous, |identity| Tls::Local(identity.clone()));
            let labels = AuthzLabels {
                workload: workload.labels.clone(),
                target: local,
                tls,
                server: Some(port.labels.clone()),
                authz_name: None,
            };
            self.metrics.authz(AuthzOutcome::Terminate, &labels);
            let identity = identity.map(tracing::field::display);
            warn!(destination = %workload.key, addr = %local, client = %remote.ip(), identity, policy = port.labels.name, %reason, "terminated: the policy has changed");
            denied.push((local, remote, *cookie));
        }
        if denied.is_empty() {
            return;
        }
        {
            let mut opens = self.opens.lock();
            let known: Vec<u64> =
                denied.iter().map(|(.., cookie)| *cookie).filter(|c| opens.open.contains_key(c)).collect();
            opens.denied.extend(known);
        }
        self.end(workload, &denied);
    }

    fn end(&self, workload: &Workload, sockets: &[(SocketAddr, SocketAddr, u64)]) {
        match self.capture.destroy(workload.netns(), sockets) {
            Ok(ended) => {
                self.figures.terminated.fetch_add(ended as u64, Ordering::Relaxed);
            }
            Err(error) => {
                self.figures.not_terminated.fetch_add(sockets.len() as u64, Ordering::Relaxed);
                error!(destination = %workload.key, connections = sockets.len(), %error, "direct connections could not be ended (does the kernel have CONFIG_INET_DIAG_DESTROY?); they go on");
            }
        }
    }

    fn route(&self, id: u64) -> Option<Arc<Route>> {
        self.table.lock().by_id.get(&id).cloned()
    }

    fn unknown(&self) {
        self.figures.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets passes that nobody asks about any more, and connections whose end was not told.
    fn look(&self) {
        {
            let mut table = self.table.lock();
            while let Some((since, id)) = table.withdrawn.front().copied()
                && since.elapsed() > LINGER
            {
                table.withdrawn.pop_front();
                table.by_id.remove(&id);
            }
        }
        let lost = self.capture.lost_events();
        if std::mem::replace(&mut self.opens.lock().lost, lost) != lost {
            self.count_again(lost);
        }
    }

    /// Forgets connections of whose end nobody told this proxy; `lost`: how many events found no room.
    pub(super) fn count_again(&self, lost: u64) {
        let cookies: Vec<u64> = self.opens.lock().open.keys().copied().collect();
        let started = Instant::now();
        let gone: Vec<u64> = cookies.into_iter().filter(|cookie| !self.capture.is_live(*cookie)).collect();
        warn!(lost, gone = gone.len(), took = ?started.elapsed(), "events of direct connections were lost: the figures of some are missing");
        let mut opens = self.opens.lock();
        for cookie in gone {
            opens.denied.remove(&cookie);
            if let Some(open) = opens.open.remove(&cookie) {
                self.figures.open[open.side].fetch_sub(1, Ordering::Relaxed);
                self.figures.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
