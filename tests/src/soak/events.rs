//! The events of the soak test: what operators, schedulers and accidents do to a cluster.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{
    Soak,
    model::Fault,
    rotation::Rotation,
    testbed::{ECHO, Role, TestPod, of},
};
use crate::{
    capture::WIRE,
    load::CloseMode,
    mesh::{NODES, Proxy},
    metrics::Labels,
    wait,
};

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

/// Counters of connections that do not only go through the proxy, with their names.
const PATHS: [(&str, Labels, &str); 3] = [
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

/// How long after a change took effect for one client it has taken effect for all.
const SETTLE_TIME: Duration = Duration::from_millis(1500);

/// How long after the return of the control plane the last watch reconnects: a backoff of up to ten seconds and half of
/// that as jitter.
const RECONNECT_TIME: Duration = Duration::from_secs(15);

pub(super) struct Events<'a> {
    soak: &'a Soak,
    random: StdRng,
    rotation: Rotation,
    denying: Vec<TestPod>,
    unmeshed: Vec<TestPod>,
    delisted: Vec<TestPod>,
    counts: BTreeMap<&'static str, u64>,
    /// Includes processes that have ended.
    paths: BTreeMap<&'static str, u64>,
}

impl<'a> Events<'a> {
    pub(super) fn new(soak: &'a Soak, seed: u64) -> Result<Self> {
        let rotation = Rotation::of(&soak.mesh)?;
        let random = StdRng::seed_from_u64(seed);
        let (denying, unmeshed, delisted, counts, paths) = Default::default();
        Ok(Self { soak, random, rotation, denying, unmeshed, delisted, counts, paths })
    }

    /// Causes a random event, then pauses.
    pub(super) fn next(&mut self) {
        let event = EVENTS.choose_weighted(&mut self.random, |(_, weight)| *weight);
        let event = event.map_or(Event::WireCut, |(event, _)| *event);
        self.cause(event);
        self.rest(0..2000);
    }

    fn cause(&mut self, event: Event) {
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
            self.soak.model.violation(format!("{event:?} failed: {e:#}"));
        }
    }

    /// Restores the initial state.
    pub(super) fn undo(&mut self) -> Result<()> {
        while let Some(test_pod) = self.denying.pop() {
            self.open(test_pod)?;
        }
        for test_pod in self.unmeshed.drain(..) {
            self.soak.mesh.change_pod(test_pod.name, |pod| pod.meshed())?;
        }
        for test_pod in self.delisted.drain(..) {
            self.soak.mesh.change_pod(test_pod.name, |pod| test_pod.specify(pod))?;
        }
        self.soak.mesh.until_enrolled()
    }

    fn kill_proxy(&mut self) -> Result<()> {
        let proxy = self.proxy()?;
        let fault = Fault::Proxy(NODES.into_iter().find(|node| *node == proxy.node()).context("its node")?);
        self.log(format!("{proxy} is killed"));
        self.count("kills of a proxy");
        self.note_paths(proxy)?;
        self.soak.model.begin(fault.clone());
        proxy.kill()?;
        self.rest(0..1500);
        proxy.revive()?;
        self.soak.mesh.until_enrolled()?;
        thread::sleep(SETTLE_TIME);
        self.soak.model.end(&fault);
        self.log(format!("{proxy} is back"));
        Ok(())
    }

    fn upgrade_proxy(&mut self) -> Result<()> {
        let proxy = self.proxy()?;
        self.log(format!("{proxy} is replaced by a successor"));
        self.count("takeovers by a successor");
        self.note_paths(proxy)?;
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
        self.log("control is killed".to_owned());
        self.count("kills of the control plane");
        self.soak.model.begin(Fault::Control);
        self.soak.model.begin(Fault::StaleEndpoints);
        control.kill()?;
        self.rest(0..3000);
        control.revive()?;
        self.soak.mesh.until_enrolled()?;
        thread::sleep(SETTLE_TIME);
        self.soak.model.end(&Fault::Control);
        self.soak.model.end_after(&Fault::StaleEndpoints, RECONNECT_TIME);
        Ok(())
    }

    fn change_policy(&mut self) -> Result<()> {
        self.count("policy changes");
        let test_pod = self.pick(Role::PolicyChanges)?;
        if let Some(at) = self.denying.iter().position(|denying| denying.name == test_pod.name) {
            self.denying.remove(at);
            return self.open(test_pod);
        }
        self.log(format!("{} denies everybody", test_pod.name));
        self.denying.push(test_pod);
        self.soak.model.begin(Fault::Pod(test_pod.name));
        self.soak.mesh.change_pod(test_pod.name, |pod| pod.policy("deny"))?;
        self.until(test_pod, "everybody is denied", CloseMode::Denied)?;
        thread::sleep(SETTLE_TIME);
        self.soak.model.denies(test_pod.name);
        Ok(())
    }

    fn open(&self, test_pod: TestPod) -> Result<()> {
        self.log(format!("{} accepts everybody", test_pod.name));
        self.soak.model.allows(test_pod.name);
        self.soak.mesh.change_pod(test_pod.name, |pod| pod.policy("all-unauthenticated"))?;
        self.until(test_pod, "clients are accepted", CloseMode::HalfClose)?;
        thread::sleep(SETTLE_TIME);
        self.soak.model.end(&Fault::Pod(test_pod.name));
        Ok(())
    }

    /// Waits until clients of both nodes see this.
    fn until(&self, test_pod: TestPod, what: &str, mode: CloseMode) -> Result<()> {
        of(Role::Stable).into_iter().try_for_each(|client| {
            let (netns, to) = (self.soak.netns(client), self.soak.addresses(test_pod));
            let (netns, (v4, _)) = netns.zip(to).context("a pod is missing")?;
            let target = (v4, ECHO).into();
            wait::until_ok(what, || netns.run(|| mode.run(target, 1))?.map_err(Into::into))
        })
    }

    fn join_or_leave(&mut self) -> Result<()> {
        let test_pod = self.pick(Role::Joining)?;
        match self.unmeshed.iter().position(|unmeshed| unmeshed.name == test_pod.name) {
            Some(at) => {
                self.unmeshed.remove(at);
                self.log(format!("{} joins", test_pod.name));
                self.count("joins");
                self.soak.mesh.change_pod(test_pod.name, |pod| pod.meshed())?;
            }
            None => {
                self.unmeshed.push(test_pod);
                self.log(format!("{} leaves", test_pod.name));
                self.count("leaves");
                self.soak.mesh.change_pod(test_pod.name, |pod| pod.unmeshed())?;
            }
        }
        self.soak.mesh.until_enrolled()
    }

    fn replace_pod(&mut self) -> Result<()> {
        let test_pod = self.pick(Role::Replaced)?;
        self.log(format!("{} is deleted", test_pod.name));
        self.count("pods replaced");
        self.soak.model.begin(Fault::Pod(test_pod.name));
        self.soak.pod_stopping(test_pod);
        self.soak.mesh.remove_pod(test_pod.name)?;
        self.rest(0..2000);
        self.soak.mesh.add_pod(test_pod.name, |pod| test_pod.specify(pod))?;
        self.soak.pod_started(test_pod)?;
        self.until(test_pod, "the new pod answers", CloseMode::HalfClose)?;
        thread::sleep(SETTLE_TIME);
        self.soak.model.end(&Fault::Pod(test_pod.name));
        self.log(format!("{} runs again", test_pod.name));
        Ok(())
    }

    fn change_endpoints(&mut self) -> Result<()> {
        self.count("changes of a service's endpoints");
        if let Some(test_pod) = self.delisted.pop() {
            self.log(format!("{} joins the service", test_pod.name));
            return self.soak.mesh.change_pod(test_pod.name, |pod| test_pod.specify(pod));
        }
        let test_pod = self.pick(Role::Shop)?;
        self.log(format!("{} leaves the service", test_pod.name));
        self.delisted.push(test_pod);
        self.soak.mesh.change_pod(test_pod.name, |pod| pod.app("nobody"))?;
        // Clients use only the service: connections and requests stop once every proxy knows.
        let used = || self.soak.used(test_pod);
        let (mut last, mut quiet) = (used(), 0);
        wait::until("a pod that left the service gets no connections and no requests", || {
            thread::sleep(Duration::from_millis(200));
            let now = used();
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
            quiet >= 10
        })
    }

    fn cut_wire(&mut self) -> Result<()> {
        let node = NODES.choose(&mut self.random).copied().context("a node")?;
        self.log(format!("the wire of node {node} is cut"));
        self.count("cuts of a wire");
        self.soak.model.begin(Fault::Wire);
        self.wire(node, "down")?;
        self.rest(50..500);
        self.wire(node, "up")?;
        thread::sleep(SETTLE_TIME);
        self.soak.model.end(&Fault::Wire);
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

    fn pick(&mut self, role: Role) -> Result<TestPod> {
        of(role).choose(&mut self.random).copied().with_context(|| format!("no pod is {role:?}"))
    }

    fn rest(&mut self, milliseconds: std::ops::Range<u64>) {
        thread::sleep(Duration::from_millis(self.random.random_range(milliseconds)));
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Adds the counters of a process that is about to end.
    fn note_paths(&mut self, proxy: &Proxy) -> Result<()> {
        let metrics = proxy.metrics()?;
        for (name, labels, what) in PATHS {
            *self.paths.entry(what).or_default() += metrics.value(name, labels) as u64;
        }
        Ok(())
    }

    /// How often each event occurred.
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// How many connections took which path, as the proxies counted them.
    pub(super) fn paths(&mut self) -> Result<&BTreeMap<&'static str, u64>> {
        self.soak.mesh.proxies().iter().try_for_each(|proxy| self.note_paths(proxy))?;
        Ok(&self.paths)
    }

    fn log(&self, what: String) {
        self.soak.log(&what);
    }
}
