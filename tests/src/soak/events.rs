//! What is done to the cluster during a soak? What operators, schedulers and accidents do.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{
    Soak,
    model::Site,
    rotation::Rotation,
    testbed::{ECHO, Place, Role, of},
};
use crate::{
    capture::WIRE,
    load::CloseMode,
    mesh::{NODES, Proxy},
    metrics::Labels,
    wait,
};

/// Everything that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    ProxyKilled,
    ProxyUpgraded,
    ControlKilled,
    PolicyChanged,
    PodJoinedOrLeft,
    PodReplaced,
    EndpointChanged,
    AuthorityRotated,
    WireCut,
}

/// What is counted of connections that do not only pass the proxy, and what it is called.
const WAYS: [(&str, Labels, &str); 3] = [
    ("weft_direct_connections_total", &[("side", "source")], "direct connections"),
    ("weft_splice_connections_total", &[], "spliced connections"),
    ("weft_splice_bytes_total", &[], "bytes moved from application to application by the kernel"),
];

const EVENTS: [(Event, u32); 9] = [
    (Event::ProxyKilled, 3),
    (Event::ProxyUpgraded, 3),
    (Event::ControlKilled, 3),
    (Event::PolicyChanged, 4),
    (Event::PodJoinedOrLeft, 5),
    (Event::PodReplaced, 3),
    (Event::EndpointChanged, 3),
    (Event::AuthorityRotated, 2),
    (Event::WireCut, 2),
];

/// How long after a change was seen to hold everybody has heard of it.
const SETTLED: Duration = Duration::from_millis(1500);

/// How long after the control plane is back the last watch is: pauses of up to ten seconds, and half as much again, so
/// that not all of them come at once.
const HEARD: Duration = Duration::from_secs(15);

/// What has been done, and what of it holds at present.
pub(super) struct Events<'a> {
    soak: &'a Soak,
    random: StdRng,
    rotation: Rotation,
    shut: Vec<Place>,
    outside: Vec<Place>,
    delisted: Vec<Place>,
    counts: BTreeMap<&'static str, u64>,
    /// Of processes that are no more.
    ways: BTreeMap<&'static str, u64>,
}

impl<'a> Events<'a> {
    pub(super) fn new(soak: &'a Soak, seed: u64) -> Result<Self> {
        let rotation = Rotation::of(&soak.mesh)?;
        let random = StdRng::seed_from_u64(seed);
        let (shut, outside, delisted, counts, ways) = Default::default();
        Ok(Self { soak, random, rotation, shut, outside, delisted, counts, ways })
    }

    /// Lets something happen, and then nothing for a moment.
    pub(super) fn next(&mut self) {
        let event = EVENTS.choose_weighted(&mut self.random, |(_, weight)| *weight);
        let event = event.map_or(Event::WireCut, |(event, _)| *event);
        self.happen(event);
        self.rest(0..2000);
    }

    fn happen(&mut self, event: Event) {
        let done = match event {
            Event::ProxyKilled => self.kill_proxy(),
            Event::ProxyUpgraded => self.upgrade_proxy(),
            Event::ControlKilled => self.kill_control(),
            Event::PolicyChanged => self.change_policy(),
            Event::PodJoinedOrLeft => self.join_or_leave(),
            Event::PodReplaced => self.replace_pod(),
            Event::EndpointChanged => self.change_endpoints(),
            Event::AuthorityRotated => self.rotate(),
            Event::WireCut => self.cut_wire(),
        };
        if let Err(e) = done {
            self.soak.model.wrong(format!("{event:?} did not come about: {e:#}"));
        }
    }

    /// Makes everything as it was in the beginning.
    pub(super) fn undo(&mut self) -> Result<()> {
        while let Some(place) = self.shut.pop() {
            self.open(place)?;
        }
        for place in self.outside.drain(..) {
            self.soak.mesh.change_pod(place.name, |pod| pod.meshed())?;
        }
        for place in self.delisted.drain(..) {
            self.soak.mesh.change_pod(place.name, |pod| place.specify(pod))?;
        }
        self.soak.mesh.until_enrolled()
    }

    fn kill_proxy(&mut self) -> Result<()> {
        let proxy = self.proxy()?;
        let site = Site::Node(NODES.into_iter().find(|node| *node == proxy.node()).context("its node")?);
        self.tell(format!("{proxy} is killed"));
        self.count("kills of a proxy");
        self.note_ways(proxy)?;
        self.soak.model.begins(site.clone());
        proxy.kill()?;
        self.rest(0..1500);
        proxy.revive()?;
        self.soak.mesh.until_enrolled()?;
        thread::sleep(SETTLED);
        self.soak.model.over(&site);
        self.tell(format!("{proxy} is back"));
        Ok(())
    }

    fn upgrade_proxy(&mut self) -> Result<()> {
        let proxy = self.proxy()?;
        self.tell(format!("{proxy} is relieved by a successor"));
        self.count("takeovers by a successor");
        self.note_ways(proxy)?;
        proxy.take_over()
    }

    fn rotate(&mut self) -> Result<()> {
        if self.rotation.step(self.soak)? {
            self.count("steps of a rotation of authorities");
        }
        Ok(())
    }

    fn kill_control(&mut self) -> Result<()> {
        let control = self.soak.mesh.control();
        self.tell("control is killed".to_owned());
        self.count("kills of the control plane");
        self.soak.model.begins(Site::Control);
        self.soak.model.begins(Site::Word);
        control.kill()?;
        self.rest(0..3000);
        control.revive()?;
        self.soak.mesh.until_enrolled()?;
        thread::sleep(SETTLED);
        self.soak.model.over(&Site::Control);
        self.soak.model.over_in(&Site::Word, HEARD);
        Ok(())
    }

    fn change_policy(&mut self) -> Result<()> {
        self.count("policy changes");
        let place = self.pick(Role::Ruled)?;
        if let Some(at) = self.shut.iter().position(|shut| shut.name == place.name) {
            self.shut.remove(at);
            return self.open(place);
        }
        self.tell(format!("{} lets nobody in", place.name));
        self.shut.push(place);
        self.soak.model.begins(Site::Pod(place.name));
        self.soak.mesh.change_pod(place.name, |pod| pod.policy("deny"))?;
        self.until(place, "nobody is let in", CloseMode::Denied)?;
        thread::sleep(SETTLED);
        self.soak.model.shut(place.name);
        Ok(())
    }

    fn open(&self, place: Place) -> Result<()> {
        self.tell(format!("{} lets everybody in", place.name));
        self.soak.model.opening(place.name);
        self.soak.mesh.change_pod(place.name, |pod| pod.policy("all-unauthenticated"))?;
        self.until(place, "somebody is let in", CloseMode::HalfClose)?;
        thread::sleep(SETTLED);
        self.soak.model.over(&Site::Pod(place.name));
        Ok(())
    }

    /// Waits until clients of both nodes fare so.
    fn until(&self, place: Place, what: &str, mode: CloseMode) -> Result<()> {
        of(Role::Steady).into_iter().try_for_each(|client| {
            let (netns, to) = (self.soak.netns(client), self.soak.addresses(place));
            let (netns, (v4, _)) = netns.zip(to).context("a pod is missing")?;
            let target = (v4, ECHO).into();
            wait::until_ok(what, || netns.run(|| mode.run(target, 1))?.map_err(Into::into))
        })
    }

    fn join_or_leave(&mut self) -> Result<()> {
        let place = self.pick(Role::Roamer)?;
        match self.outside.iter().position(|outside| outside.name == place.name) {
            Some(at) => {
                self.outside.remove(at);
                self.tell(format!("{} joins", place.name));
                self.count("joins");
                self.soak.mesh.change_pod(place.name, |pod| pod.meshed())?;
            }
            None => {
                self.outside.push(place);
                self.tell(format!("{} leaves", place.name));
                self.count("leaves");
                self.soak.mesh.change_pod(place.name, |pod| pod.unmeshed())?;
            }
        }
        self.soak.mesh.until_enrolled()
    }

    fn replace_pod(&mut self) -> Result<()> {
        let place = self.pick(Role::Mortal)?;
        self.tell(format!("{} is deleted", place.name));
        self.count("pods replaced");
        self.soak.model.begins(Site::Pod(place.name));
        self.soak.buried(place);
        self.soak.mesh.remove_pod(place.name)?;
        self.rest(0..2000);
        self.soak.mesh.add_pod(place.name, |pod| place.specify(pod))?;
        self.soak.born(place)?;
        self.until(place, "the new pod answers", CloseMode::HalfClose)?;
        thread::sleep(SETTLED);
        self.soak.model.over(&Site::Pod(place.name));
        self.tell(format!("{} is there anew", place.name));
        Ok(())
    }

    fn change_endpoints(&mut self) -> Result<()> {
        self.count("changes of a service's endpoints");
        if let Some(place) = self.delisted.pop() {
            self.tell(format!("{} serves again", place.name));
            return self.soak.mesh.change_pod(place.name, |pod| place.specify(pod));
        }
        let place = self.pick(Role::Shop)?;
        self.tell(format!("{} serves no more", place.name));
        self.delisted.push(place);
        self.soak.mesh.change_pod(place.name, |pod| pod.app("nobody"))?;
        // Nobody comes to it but by the service: it has peace once everybody has heard.
        let accepted = || self.soak.accepted(place);
        let (mut last, mut quiet) = (accepted(), 0);
        wait::until("a pod that serves no more is left in peace", || {
            thread::sleep(Duration::from_millis(200));
            let now = accepted();
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
            quiet >= 10
        })
    }

    fn cut_wire(&mut self) -> Result<()> {
        let node = NODES.choose(&mut self.random).copied().context("a node")?;
        self.tell(format!("the wire of node {node} is cut"));
        self.count("cuts of a wire");
        self.soak.model.begins(Site::Wire);
        self.wire(node, "down")?;
        self.rest(50..500);
        self.wire(node, "up")?;
        thread::sleep(SETTLED);
        self.soak.model.over(&Site::Wire);
        Ok(())
    }

    fn wire(&self, node: &str, state: &str) -> Result<()> {
        let arguments = ["link", "set", WIRE, state];
        let set =
            self.soak.mesh.node(node).run(|| std::process::Command::new("ip").args(arguments).status())??;
        ensure!(set.success(), "ip link set {WIRE} {state}: {set}");
        Ok(())
    }

    fn proxy(&mut self) -> Result<&'a Proxy> {
        let proxy = self.soak.mesh.proxies().choose(&mut self.random).context("no proxy")?;
        Ok(proxy)
    }

    fn pick(&mut self, role: Role) -> Result<Place> {
        of(role).choose(&mut self.random).copied().with_context(|| format!("no pod is {role:?}"))
    }

    fn rest(&mut self, milliseconds: std::ops::Range<u64>) {
        thread::sleep(Duration::from_millis(self.random.random_range(milliseconds)));
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Adds what a process counted that is about to end.
    fn note_ways(&mut self, proxy: &Proxy) -> Result<()> {
        let metrics = proxy.metrics()?;
        for (name, labels, what) in WAYS {
            *self.ways.entry(what).or_default() += metrics.value(name, labels) as u64;
        }
        Ok(())
    }

    /// What was done, in figures.
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// How many connections went in which way, as the proxies counted them.
    pub(super) fn ways(&mut self) -> Result<&BTreeMap<&'static str, u64>> {
        self.soak.mesh.proxies().iter().try_for_each(|proxy| self.note_ways(proxy))?;
        Ok(&self.ways)
    }

    fn tell(&self, what: String) {
        self.soak.tell(&what);
    }
}
