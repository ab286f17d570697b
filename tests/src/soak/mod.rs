//! The soak test: traffic for a long time while the cluster changes and fails.
//!
//! [`testbed`] is the cluster, [`traffic`] the clients and servers, [`requests`] and [`streams`] those of HTTP, [`events`] the changes and failures; [`model`]
//! checks every single connection. At the end, no resources may be left behind.

mod bodies;
mod events;
mod model;
mod requests;
mod rotation;
mod streams;
mod testbed;
mod traffic;
mod websocket;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use self::{
    events::Events,
    model::Model,
    testbed::{Role, TEST_PODS, TestPod},
};
use crate::{
    backends::Server,
    capture::Capture,
    census::{self, ResourceCensus},
    http2,
    load::Plan,
    mesh::{Mesh, NODES, artefacts},
    netns::Netns,
};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long events are caused.
    pub length: Duration,
    /// The seed of all random decisions.
    pub seed: u64,
}

/// In each pod.
const CLIENTS: u64 = 2;

/// Traffic before the first event.
const WARM_UP: Duration = Duration::from_secs(5);

/// Until the last connection, draining process and vanished peer are gone.
const CLEANUP_TIME: Duration = Duration::from_secs(120);

/// Retransmissions before a connection is given up: a minute for a pod that has vanished, not a quarter of an hour.
/// Keepalive does not apply to connections with unacknowledged data.
const RETRIES: &str = "7";

struct Soak {
    mesh: Mesh,
    model: Arc<Model>,
    begun: Instant,
    over: AtomicBool,
    pods: Mutex<BTreeMap<&'static str, RunningPod>>,
}

struct RunningPod {
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    netns: Netns,
    servers: Vec<Server>,
    http2: http2::Server,
}

/// Runs the soak test and prints its figures; fails on any violation.
pub fn run(settings: Settings) -> Result<()> {
    let soak = Soak {
        mesh: testbed::description().start()?,
        model: Arc::default(),
        begun: Instant::now(),
        over: AtomicBool::new(false),
        pods: Mutex::default(),
    };
    let done = soak.run(settings);
    let violations = soak.model.violations();
    if done.is_err() || !violations.is_empty() {
        let kept = artefacts::keep(&soak.mesh, "soak");
        println!("{}", kept.lines().last().unwrap_or_default());
    }
    soak.mesh.stop().context("the cluster did not stop cleanly")?;
    done?;
    ensure!(violations.is_empty(), "{} violations; the first: {}", violations.len(), violations[0]);
    Ok(())
}

/// When a client uses its random numbers.
#[derive(Clone, Copy)]
enum Phase {
    Once,
    WarmUp,
    Soak,
}

/// A seed that no other client has: equal ones would give requests of different clients the same number.
fn own_seed(seed: u64, phase: Phase, client: u64) -> u64 {
    seed ^ ((phase as u64 + 1) << 32 | client)
}

impl Soak {
    fn run(&self, settings: Settings) -> Result<()> {
        TEST_PODS.into_iter().try_for_each(|test_pod| self.pod_started(test_pod))?;
        let wires = NODES.map(|node| self.capture_plaintext(node));
        // Listeners that are older than the enrollment are found in another way.
        for test_pod in testbed::of(Role::Joining) {
            self.mesh.change_pod(test_pod.name, |pod| pod.unmeshed())?;
            self.mesh.until_enrolled()?;
            self.mesh.change_pod(test_pod.name, |pod| pod.meshed())?;
        }
        self.mesh.until_enrolled()?;
        // After this, everything that is created only once exists: that much may be left at the end.
        thread::scope(|scope| {
            for (test_pod, number) in TEST_PODS.into_iter().zip(0..) {
                scope.spawn(move || {
                    traffic::use_everything_once(self, test_pod, own_seed(settings.seed, Phase::Once, number))
                });
            }
        });
        self.run_traffic(WARM_UP, settings.seed, Phase::WarmUp, || ());
        let before = ResourceCensus::settled(&self.mesh)?;
        self.log("warmed up");
        let mut events = Events::new(self, settings.seed)?;
        self.run_traffic(settings.length, settings.seed, Phase::Soak, || events.next());
        self.log("traffic and events have stopped");
        events.undo()?;
        self.show(&mut events)?;
        // Events create series that the warm-up has not created.
        ResourceCensus::until_no_increase(&self.mesh, &before, CLEANUP_TIME, &[census::SERIES])?;
        self.log("nothing is left behind");
        for wire in wires {
            self.check_wire(wire?)?;
        }
        Ok(())
    }

    /// Runs the traffic of all pods for `length` and repeats `meanwhile`.
    fn run_traffic(&self, length: Duration, seed: u64, phase: Phase, mut meanwhile: impl FnMut()) {
        self.over.store(false, Ordering::Relaxed);
        let end = Instant::now() + length;
        thread::scope(|scope| {
            for (test_pod, number) in TEST_PODS.into_iter().zip(0..) {
                for client in 0..CLIENTS {
                    let seed = own_seed(seed, phase, number * CLIENTS + client);
                    scope.spawn(move || traffic::keep_talking(self, test_pod, seed));
                }
            }
            while Instant::now() < end {
                meanwhile();
                thread::sleep(Duration::from_millis(100));
            }
            self.over.store(true, Ordering::Relaxed);
        });
    }

    /// Captures plaintext between pods that fail closed: no event may cause it.
    fn capture_plaintext(&self, node: &str) -> Result<Capture> {
        let closed = TEST_PODS.into_iter().filter(|test_pod| !test_pod.fails_open());
        let closed: HashSet<IpAddr> = closed
            .filter_map(|test_pod| self.addresses(test_pod))
            .flat_map(|(v4, v6)| [v4.into(), v6.into()])
            .collect();
        Capture::start_for(&self.mesh.node(node), move |packet| {
            let both = [packet.source, packet.destination].iter().all(|(ip, _)| closed.contains(ip));
            both && packet.payload.windows(Plan::MARK.len()).any(|window| window == Plan::MARK)
        })
    }

    fn check_wire(&self, wire: Capture) -> Result<()> {
        for packet in wire.finish()?.packets {
            let (from, to) = (packet.source, packet.destination);
            self.model.violation(format!("plaintext from {from:?} to {to:?}, although both fail closed"));
        }
        Ok(())
    }

    /// Prints the figures; fails if a path was not used at all.
    fn show(&self, events: &mut Events) -> Result<()> {
        let totals = self.model.totals();
        println!();
        for ((kind, outcome), count) in &totals.by_kind {
            println!("{count:>9} {kind}: {outcome}");
        }
        println!();
        for (event, count) in events.counts() {
            println!("{count:>9} {event}");
        }
        for (way, count) in events.paths()? {
            println!("{count:>9} {way}");
            ensure!(*count > 0, "there were no {way}");
        }
        let gib = totals.bytes as f64 / f64::from(1 << 30);
        println!("{:>9} connections, {gib:.2} GiB checked:", totals.connections);
        println!("{:>9} succeeded", totals.succeeded);
        println!("{:>9} refused by policy", totals.refused);
        println!("{:>9} broken by events", totals.broken);
        println!("{:>9} violations", totals.violations);
        self.model.violations().iter().for_each(|wrong| println!("          {wrong}"));
        Ok(())
    }

    /// Starts the servers of a pod that has been created.
    fn pod_started(&self, test_pod: TestPod) -> Result<()> {
        let pod = self.mesh.pod(test_pod.name);
        pod.netns().run(|| fs::write("/proc/sys/net/ipv4/tcp_retries2", RETRIES))??;
        let serve = traffic::behaviours(&self.model, test_pod).into_iter();
        let servers = serve.map(|(port, behaviour)| pod.serve(port, behaviour)).collect::<Result<_>>()?;
        let netns = pod.netns().clone();
        let http2 = requests::http2_server(&self.model, test_pod, &netns)?;
        let running = RunningPod { v4: pod.v4, v6: pod.v6, netns, servers, http2 };
        self.pods().insert(test_pod.name, running);
        Ok(())
    }

    /// The pod is about to be deleted.
    fn pod_stopping(&self, test_pod: TestPod) {
        self.pods().remove(test_pod.name);
    }

    fn netns(&self, test_pod: TestPod) -> Option<Netns> {
        self.pods().get(test_pod.name).map(|running| running.netns.clone())
    }

    fn addresses(&self, test_pod: TestPod) -> Option<(Ipv4Addr, Ipv6Addr)> {
        self.pods().get(test_pod.name).map(|running| (running.v4, running.v6))
    }

    /// The number of connections that the pod's servers have accepted, and of requests on them.
    fn used(&self, test_pod: TestPod) -> u64 {
        let accepted = self.pods().get(test_pod.name).map_or(0, |running| {
            let connections: u64 = running.servers.iter().map(Server::accepted).sum();
            connections + running.http2.peers().len() as u64
        });
        accepted + self.model.processed_by(test_pod)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn log(&self, what: &str) {
        println!("{:8.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<&'static str, RunningPod>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
