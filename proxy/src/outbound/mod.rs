//! What becomes of a connection that a workload opens?
//!
//! Where was it going, what serves that, and how is it reached: on this node, on another by mTLS, or outside the
//! mesh as it is. Whatever cannot be done as it must be is refused with a reset, never done in plaintext.
#![forbid(unsafe_code)]

mod dial;

use std::{
    future::pending,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::net::TcpStream;
use tracing::{debug, warn};

use self::dial::{Dialled, Failed};
use crate::{
    app::Shared,
    balance::Balancer,
    discovery::{Destination, Endpoint, SourceRef},
    local,
    metrics::{Direction, OpenConn, Peer, Tls, TransportLabels, reason},
    splice::{Hop, Joint},
    tcp::{self, End, FirstWord, Legs, Member, Relay},
    workloads::Workload,
};

/// Endpoints that are tried for one connection when each refuses at once.
const MOST_ENDPOINTS: usize = 5;
/// How long a connection is tried for when nobody answers: a lost SYN is no refusal. Linkerd's failfast time.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether an endpoint that is being tried is still what it was.
const LOOK: Duration = Duration::from_millis(50);
/// Before the second attempt; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// Serves one connection of `source`.
pub async fn serve(shared: &Arc<Shared>, source: &Arc<Workload>, stream: TcpStream) {
    let Some(known) = shared.capture.original_destination(&stream) else {
        shared.metrics.outbound_error(&source.labels, "no original destination");
        if source.throttle.admits("no original destination") {
            warn!(source = %source.key, "a connection without an original destination was refused; did something in the pod connect to the proxy's port?");
        }
        return tcp::reset(stream);
    };
    let original = known.addr;
    let Ok(peer) = stream.peer_addr() else { return tcp::reset(stream) };
    // The application's socket is bound to loopback; the address that it goes by is the pod's.
    let client = SocketAddr::new(source.address_like(original.ip()).unwrap_or(peer.ip()), peer.port());
    let connection = Connection { shared, source, original, client, may_splice: known.may_splice };
    let Some(relay) = Box::pin(connection.open(stream)).await else { return };
    connection.ended(&relay.await);
}

/// A connection on its way.
struct Connection<'a> {
    shared: &'a Arc<Shared>,
    source: &'a Arc<Workload>,
    original: SocketAddr,
    client: SocketAddr,
    may_splice: bool,
}

impl Connection<'_> {
    /// `None`: it was refused.
    async fn open(&self, stream: TcpStream) -> Option<Relay> {
        let (source, original) = (self.source, self.original);
        let asker = SourceRef { namespace: source.key.namespace.clone(), pod: source.key.name.clone() };
        let mut destination = match self.shared.discovery.resolve(original, &asker).await {
            Ok(destination) => destination,
            Err(error) if error.is_silence() && source.terms().fail_open => {
                debug!(source = %source.key, destination = %original, %error, "fail mode open: forwarded as it is");
                Arc::new(Destination::External)
            }
            Err(error) => {
                self.shared.metrics.outbound_error(&source.labels, error.reason());
                if source.throttle.admits(error.reason()) {
                    warn!(source = %source.key, destination = %original, %error, "refused: it is not known what serves the destination");
                }
                return self.refuse(stream);
            }
        };
        let mut patience = Patience::new();
        loop {
            match &*destination {
                Destination::External => return self.forward(stream).await,
                Destination::Service { authority, balancer, .. } => {
                    return self.balance(stream, authority, balancer).await;
                }
                Destination::Endpoint(endpoint) => {
                    let is_current = || match self.shared.discovery.known(original).as_deref() {
                        Some(Destination::Endpoint(now)) => now.is_reached_like(endpoint),
                        Some(_) => false,
                        None => true,
                    };
                    match self.reach_while(endpoint, is_current).await {
                        Ok(reached) => return Some(self.relay(stream, reached).await),
                        Err(failed) if patience.lasts(&failed).await => {}
                        Err(failed) => return self.give_up(stream, &failed),
                    }
                }
            }
            // It may have become something else meanwhile.
            destination = self.shared.discovery.known(original).unwrap_or(destination);
        }
    }

    /// One endpoint after the other, until one is reached or none can be.
    async fn balance(&self, stream: TcpStream, authority: &str, balancer: &Balancer) -> Option<Relay> {
        let mut patience = Patience::new();
        let mut tried = Vec::new();
        let mut failure = Failed::NoEndpoint(authority.to_owned());
        loop {
            let Some(picked) = balancer.pick(&tried) else {
                if tried.is_empty() || !patience.lasts(&failure).await {
                    return self.give_up(stream, &failure);
                }
                tried.clear();
                continue;
            };
            let endpoint = picked.endpoint();
            match self.reach_while(endpoint, || balancer.has(endpoint)).await {
                Ok(mut reached) => {
                    picked.connected(reached.latency());
                    reached.legs.picked = Some(picked);
                    return Some(self.relay(stream, reached).await);
                }
                Err(failed) if failed.is_final() => return self.give_up(stream, &failed),
                Err(failed) => {
                    debug!(source = %self.source.key, destination = authority, endpoint = %endpoint.addr, error = %failed, "endpoint not reached");
                    if !matches!(failed, Failed::Outdated(_) | Failed::ClockSet(_)) {
                        picked.failed();
                    }
                    tried.push(endpoint.addr);
                    failure = failed;
                    if tried.len() >= MOST_ENDPOINTS && !patience.lasts(&failure).await {
                        return self.give_up(stream, &failure);
                    }
                }
            }
        }
    }

    /// The client's address of the family in which `to` is reached.
    fn client_for(&self, to: SocketAddr) -> SocketAddr {
        let ip = self.source.address_like(to.ip()).unwrap_or(self.client.ip());
        SocketAddr::new(ip, self.client.port())
    }

    /// [`Self::reach`], given up as soon as it is known that the endpoint is to be reached in another way, or not at
    /// all: one whose proxy has died may keep a handshake waiting for ever.
    async fn reach_while(
        &self,
        endpoint: &Endpoint,
        is_current: impl Fn() -> bool,
    ) -> Result<Reached, Failed> {
        let outdated = async {
            while is_current() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            reached = self.reach(endpoint) => reached,
            () = outdated => Err(Failed::Outdated(endpoint.addr)),
        }
    }

    /// Same node, or mTLS, or (an endpoint without identity) as it is.
    async fn reach(&self, endpoint: &Endpoint) -> Result<Reached, Failed> {
        let own = &self.source.terms().splice;
        let splice = self.may_splice && self.shared.splicing.allows(own, self.original, endpoint.addr);
        if let Some(workload) = self.shared.registry.at(endpoint.addr)
            && endpoint.tls.as_ref().is_some_and(|tls| tls.identity == workload.identity)
            && !workload.skips_inbound(endpoint.addr.port())
        {
            let visit = local::Visit {
                shared: self.shared,
                source: self.source,
                client: self.client_for(endpoint.addr),
                workload: &workload,
                target: endpoint.addr,
                splice,
            };
            let dialled = visit.dial().await?;
            let tls = Tls::Local(workload.identity.clone());
            let mut legs = self.legs(endpoint, tls, Some(&dialled));
            if !splice {
                legs.first_word = self.listen(workload, endpoint.addr.port());
            }
            return Ok(Reached { legs, dialled: Dialled::Local(dialled), splice });
        }
        let dialled = match &endpoint.tls {
            Some(tls) => dial::mtls(self.shared, self.source, endpoint.addr, tls).await?,
            None => Dialled::Plain(dial::plain(self.source, endpoint.addr).await?),
        };
        let tls = match &endpoint.tls {
            Some(tls) => Tls::Established(tls.identity.clone()),
            None => Tls::NoIdentity(reason::NOT_PROVIDED_BY_SERVICE_DISCOVERY),
        };
        Ok(Reached { legs: self.legs(endpoint, tls, None), dialled, splice })
    }

    /// An application that speaks first is known by that: its next connections need no proxy.
    fn listen(&self, workload: Arc<Workload>, port: u16) -> FirstWord {
        let (shared, source, original) = (self.shared.clone(), self.source.clone(), self.original);
        FirstWord::tell(move |after| {
            shared.passes.spoke_first(&workload, port, after);
            shared.passes.consider(&source, original);
        })
    }

    fn legs(&self, endpoint: &Endpoint, tls: Tls, local: Option<&local::Arrived>) -> Legs {
        let mut legs = Legs {
            source: vec![self.leg(Peer::Src, Tls::NoIdentity(reason::LOOPBACK), self.original, None)],
            destination: vec![self.leg(Peer::Dst, tls, endpoint.addr, Some(endpoint))],
            ..Legs::default()
        };
        if let Some(arrived) = local {
            let inbound = arrived.open();
            legs.source.push(inbound.0);
            legs.destination.push(inbound.1);
        }
        legs
    }

    fn leg(&self, peer: Peer, tls: Tls, target: SocketAddr, endpoint: Option<&Endpoint>) -> OpenConn {
        let labels = TransportLabels {
            direction: Direction::Outbound,
            peer,
            workload: self.source.labels.clone(),
            tls,
            target,
            server: None,
            destination: endpoint.map(|endpoint| endpoint.labels.clone()),
        };
        self.shared.metrics.transport(&labels).open()
    }

    async fn relay(&self, stream: TcpStream, reached: Reached) -> Relay {
        let mut legs = reached.legs;
        let idle = self.shared.limits.idle;
        match reached.dialled {
            Dialled::Plain(upstream) => tcp::relay(stream, upstream.stream, legs, idle, pending()),
            Dialled::Mtls(upstream) => {
                if reached.splice {
                    legs.hop = Hop::start(&self.shared.splicing, &stream).await;
                }
                match legs.hop {
                    Some(_) => tcp::relay(Member(stream), *upstream.stream, legs, idle, pending()),
                    None => tcp::relay(stream, *upstream.stream, legs, idle, pending()),
                }
            }
            Dialled::Local(arrived) => {
                self.shared.passes.consider(self.source, self.original);
                let (upstream, admission) = arrived.into_parts();
                if reached.splice {
                    let (source, destination) = ((&stream, &*legs.source), (&upstream, &*legs.destination));
                    legs.joint = Joint::start(&self.shared.splicing, source, destination);
                }
                // What was sent last to a pod that is gone, the kernel would try to deliver for a quarter of an hour.
                tcp::relay(stream, upstream, legs, idle, admission.over())
            }
        }
    }

    /// Outside the mesh: to where it was going, untouched.
    async fn forward(&self, stream: TcpStream) -> Option<Relay> {
        let mut patience = Patience::new();
        let upstream = loop {
            match dial::plain(self.source, self.original).await {
                Ok(upstream) => break upstream,
                Err(failed) => {
                    if !patience.lasts(&failed).await {
                        return self.give_up(stream, &failed);
                    }
                }
            }
        };
        let tls = Tls::NoIdentity(reason::NOT_PROVIDED_BY_SERVICE_DISCOVERY);
        let legs = Legs {
            source: vec![self.leg(Peer::Src, Tls::NoIdentity(reason::LOOPBACK), self.original, None)],
            destination: vec![self.leg(Peer::Dst, tls, self.original, None)],
            ..Legs::default()
        };
        let idle = self.shared.limits.idle;
        Some(tcp::relay(stream, upstream.stream, legs, idle, pending()))
    }

    fn give_up(&self, stream: TcpStream, failed: &Failed) -> Option<Relay> {
        self.shared.metrics.outbound_error(&self.source.labels, failed.reason());
        if self.source.throttle.admits(failed.reason()) {
            warn!(source = %self.source.key, identity = %self.source.identity, destination = %self.original, error = %failed, "refused");
        }
        self.refuse(stream)
    }

    fn refuse(&self, stream: TcpStream) -> Option<Relay> {
        self.leg(Peer::Src, Tls::NoIdentity(reason::LOOPBACK), self.original, None)
            .close(Some("ECONNREFUSED"));
        tcp::reset(stream);
        None
    }

    fn ended(&self, end: &End) {
        match end {
            End::Closed => {}
            End::Broken(broken) => {
                debug!(source = %self.source.key, destination = %self.original, reason = %broken, "connection broken");
            }
            End::Idle(limit) => {
                debug!(source = %self.source.key, destination = %self.original, ?limit, "connection was idle too long");
            }
            // Logged where it was decided.
            End::Revoked | End::Departed => {}
        }
    }
}

/// Repeats attempts that nobody answered, ever more slowly, for a while.
struct Patience {
    since: Instant,
    pause: Duration,
}

impl Patience {
    fn new() -> Self {
        Patience { since: Instant::now(), pause: FIRST_PAUSE }
    }

    /// Waits before the next attempt; false: it is no use.
    async fn lasts(&mut self, failed: &Failed) -> bool {
        if !failed.may_pass() || self.since.elapsed() >= PATIENCE {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause *= 2;
        true
    }
}

struct Reached {
    dialled: Dialled,
    legs: Legs,
    splice: bool,
}

impl Reached {
    fn latency(&self) -> Duration {
        match &self.dialled {
            Dialled::Plain(upstream) => upstream.latency,
            Dialled::Mtls(upstream) => upstream.latency,
            Dialled::Local(arrived) => arrived.latency(),
        }
    }
}
