//! Does weft hold for long, while everything that can happen to it does?
//!
//! A cluster of two nodes under traffic of every kind, and a generator of events: [`ground`] is the cluster,
//! [`traffic`] who talks, [`events`] what happens, [`model`] who judges every single connection. In the end nothing may
//! be left behind.

mod events;
mod model;
mod rotation;
mod testbed;
mod traffic;

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
    testbed::{PLACES, Place, Role},
};
use crate::{
    backends::Server,
    capture::Capture,
    census::{self, ResourceCensus},
    load::Plan,
    mesh::{Mesh, NODES, artefacts},
    netns::Netns,
};

/// How long, and which one.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long things happen.
    pub length: Duration,
    /// From which all chance comes.
    pub seed: u64,
}

/// Talkers in each pod.
const TALKERS: u64 = 2;

/// So long everybody talks before the first event.
const WARM_UP: Duration = Duration::from_secs(5);

/// Until the last connection, the last draining process and the last vanished peer are gone.
const LEFT: Duration = Duration::from_secs(120);

/// So often in a row is sent again what nobody acknowledges: a pod that vanished is given up within a minute, and not
/// only after a quarter of an hour, which is how long keepalive has no say where something is unacknowledged.
const RETRIES: &str = "7";

/// The cluster at work.
struct Soak {
    mesh: Mesh,
    model: Arc<Model>,
    begun: Instant,
    over: AtomicBool,
    pods: Mutex<BTreeMap<&'static str, Alive>>,
}

/// A pod that exists.
struct Alive {
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    netns: Netns,
    servers: Vec<Server>,
}

/// Runs it and shows its figures; an error says what was wrong.
pub fn run(settings: Settings) -> Result<()> {
    let soak = Soak {
        mesh: testbed::description().start()?,
        model: Arc::default(),
        begun: Instant::now(),
        over: AtomicBool::new(false),
        pods: Mutex::default(),
    };
    let done = soak.go(settings);
    let wrongs = soak.model.wrongs();
    if done.is_err() || !wrongs.is_empty() {
        let kept = artefacts::keep(&soak.mesh, "soak");
        println!("{}", kept.lines().last().unwrap_or_default());
    }
    soak.mesh.stop().context("the cluster did not end cleanly")?;
    done?;
    ensure!(wrongs.is_empty(), "{} things were wrong; the first: {}", wrongs.len(), wrongs[0]);
    Ok(())
}

impl Soak {
    fn go(&self, settings: Settings) -> Result<()> {
        PLACES.into_iter().try_for_each(|place| self.born(place))?;
        let wires = NODES.map(|node| self.eavesdrop(node));
        // Applications that listen before their pod joins are found in another way.
        for place in testbed::of(Role::Roamer) {
            self.mesh.change_pod(place.name, |pod| pod.unmeshed())?;
            self.mesh.until_enrolled()?;
            self.mesh.change_pod(place.name, |pod| pod.meshed())?;
        }
        self.mesh.until_enrolled()?;
        // Once to everything that there is, then quiet: what that leaves is what may be left in the end.
        thread::scope(|scope| {
            for (place, number) in PLACES.into_iter().zip(0..) {
                scope.spawn(move || traffic::tour(self, place, settings.seed.wrapping_add(number)));
            }
        });
        self.talk_for(WARM_UP, settings.seed, || ());
        let before = ResourceCensus::settled(&self.mesh)?;
        self.tell("warmed up");
        let mut events = Events::new(self, settings.seed)?;
        self.talk_for(settings.length, settings.seed ^ 1, || events.next());
        self.tell("no more connections and events");
        events.undo()?;
        self.show(&mut events)?;
        // What may be counted of everything that may happen is more than the warm-up has seen.
        ResourceCensus::until_no_increase(&self.mesh, &before, LEFT, &[census::SERIES])?;
        self.tell("nothing is left behind");
        for wire in wires {
            self.judge_wire(wire?)?;
        }
        Ok(())
    }

    /// Lets every pod talk for so long, and `meanwhile` happen again and again.
    fn talk_for(&self, length: Duration, seed: u64, mut meanwhile: impl FnMut()) {
        self.over.store(false, Ordering::Relaxed);
        let end = Instant::now() + length;
        thread::scope(|scope| {
            for (place, number) in PLACES.into_iter().zip(0..) {
                for talker in 0..TALKERS {
                    let seed = seed.wrapping_add((number * TALKERS + talker).wrapping_mul(0x9e37_79b9));
                    scope.spawn(move || traffic::talk(self, place, seed));
                }
            }
            while Instant::now() < end {
                meanwhile();
                thread::sleep(Duration::from_millis(100));
            }
            self.over.store(true, Ordering::Relaxed);
        });
    }

    /// Captures what comes in plaintext from one who fails closed to another: nothing that may happen is a reason.
    fn eavesdrop(&self, node: &str) -> Result<Capture> {
        let closed = PLACES.into_iter().filter(|place| !place.fails_open());
        let closed: HashSet<IpAddr> = closed
            .filter_map(|place| self.addresses(place))
            .flat_map(|(v4, v6)| [v4.into(), v6.into()])
            .collect();
        Capture::start_for(&self.mesh.node(node), move |packet| {
            let both = [packet.source, packet.destination].iter().all(|(ip, _)| closed.contains(ip));
            both && packet.payload.windows(Plan::MARK.len()).any(|window| window == Plan::MARK)
        })
    }

    fn judge_wire(&self, wire: Capture) -> Result<()> {
        for packet in wire.finish()?.packets {
            let (from, to) = (packet.source, packet.destination);
            self.model.wrong(format!("{from:?} spoke to {to:?} in plaintext, and both fail closed"));
        }
        Ok(())
    }

    /// Shows what happened; fails if something that a soak is there for did not.
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
        for (way, count) in events.ways()? {
            println!("{count:>9} {way}");
            ensure!(*count > 0, "there were no {way}");
        }
        let gib = totals.bytes as f64 / f64::from(1 << 30);
        println!("{:>9} connections, {gib:.2} GiB checked:", totals.connections);
        println!("{:>9} went well", totals.well);
        println!("{:>9} refused, as policy has it", totals.refused);
        println!("{:>9} broken, by what was done to them", totals.broken);
        println!("{:>9} violations", totals.violations);
        self.model.wrongs().iter().for_each(|wrong| println!("          {wrong}"));
        Ok(())
    }

    /// The pod is there: it serves, and is known.
    fn born(&self, place: Place) -> Result<()> {
        let pod = self.mesh.pod(place.name);
        pod.netns().run(|| fs::write("/proc/sys/net/ipv4/tcp_retries2", RETRIES))??;
        let serve = traffic::behaviours(&self.model, place).into_iter();
        let servers = serve.map(|(port, behaviour)| pod.serve(port, behaviour)).collect::<Result<_>>()?;
        let alive = Alive { v4: pod.v4, v6: pod.v6, netns: pod.netns().clone(), servers };
        self.pods().insert(place.name, alive);
        Ok(())
    }

    /// The pod is about to go.
    fn buried(&self, place: Place) {
        self.pods().remove(place.name);
    }

    fn netns(&self, place: Place) -> Option<Netns> {
        self.pods().get(place.name).map(|alive| alive.netns.clone())
    }

    fn addresses(&self, place: Place) -> Option<(Ipv4Addr, Ipv6Addr)> {
        self.pods().get(place.name).map(|alive| (alive.v4, alive.v6))
    }

    /// How many connections the pod's applications have seen.
    fn accepted(&self, place: Place) -> u64 {
        self.pods().get(place.name).map_or(0, |alive| alive.servers.iter().map(Server::accepted).sum())
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn tell(&self, what: &str) {
        println!("{:8.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<&'static str, Alive>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
