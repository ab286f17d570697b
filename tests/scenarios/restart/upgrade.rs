//! Does an upgrade of the proxy go by unnoticed, whatever happens on the way?

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use weft_tests::{
    backends::{self, Server},
    capture::{Capture, tls_records},
    load::{Steady, Style},
    mesh::{Mesh, Pod},
    wait,
};

use super::{DRAIN, ping, request};

/// Clients that open new connections, to three targets.
const FRESH: usize = 6;

/// New connections and lasting ones, to the other node and to the own.
struct Loads {
    fresh: Vec<Steady>,
    kept: Vec<Steady>,
    begun: Instant,
}

impl Loads {
    fn start(mesh: &Mesh) -> Result<Self> {
        let client = mesh.pod("closed-client");
        let (far, near) = (mesh.service("closed-server").at(80), mesh.service("closed-near").at(80));
        let targets = [far, mesh.pod("closed-server").at6(8080), near];
        let start = |style, clients, pause| {
            let pause = Duration::from_millis(pause);
            targets.iter().map(|to| Steady::start(client.netns(), *to, style, clients, pause)).collect()
        };
        let loads = Self {
            fresh: start(Style::Fresh, FRESH / 3, 3),
            kept: start(Style::Kept, 2, 5),
            begun: Instant::now(),
        };
        loads.keep_on(50)?;
        Ok(loads)
    }

    fn all(&self) -> impl Iterator<Item = &Steady> {
        self.fresh.iter().chain(&self.kept)
    }

    fn keep_on(&self, more: u64) -> Result<()> {
        self.all().try_for_each(|load| load.keep_on(more))
    }

    /// Ends them. Nothing may have failed, and no lasting connection may have been replaced.
    fn no_failures(self) -> Result<()> {
        self.forgiving(0)
    }

    /// The same, but so many new connections may have been reset; none may have been refused.
    fn forgiving(self, most: u64) -> Result<()> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (mut connections, mut failed) = (0, 0);
        for load in self.fresh {
            let met = load.stop();
            ensure!(met.failures.keys().all(|how| how.contains("reset")), "{met:?}");
            connections += met.connections;
            failed += met.failures.values().sum::<u64>();
        }
        ensure!(failed <= most, "{failed} of {connections} connections failed");
        for load in self.kept {
            let met = load.stop();
            met.no_failures()?;
            ensure!(met.connections == 2, "lasting connections had to be opened anew: {met:?}");
        }
        let rate = connections as f64 / seconds;
        println!("{connections} connections, {rate:.0} in a second, {failed} failed");
        Ok(())
    }
}

fn serve(mesh: &Mesh) -> Result<Vec<Server>> {
    ["closed-server", "closed-near"]
        .map(|pod| mesh.pod(pod).serve(8080, backends::echo()))
        .into_iter()
        .collect()
}

fn no_failures(servers: Vec<Server>) -> Result<()> {
    servers.iter().try_for_each(|server| server.no_failures())
}

fn none_drains(mesh: &Mesh) -> Result<()> {
    for proxy in mesh.proxies() {
        wait::until("the old processes end after their connections", || {
            proxy.draining().is_ok_and(|count| count == 0)
        })?;
    }
    Ok(())
}

pub(super) fn twice_in_a_row(mesh: &Mesh) -> Result<()> {
    let servers = serve(mesh)?;
    let mut loads = Vec::new();
    for generation in 2..=3 {
        // Each generation has lasting connections of its own.
        loads.push(Loads::start(mesh)?);
        for proxy in mesh.proxies() {
            let begun = Instant::now();
            proxy.take_over().with_context(|| format!("generation {generation} of {proxy}"))?;
            println!("generation {generation} of {proxy} took over in {:?}", begun.elapsed());
            loads.iter().try_for_each(|loads| loads.keep_on(100))?;
        }
    }
    for proxy in mesh.proxies() {
        ensure!(proxy.draining()? == 2, "{proxy}: the processes before it still have connections");
    }
    loads.into_iter().try_for_each(Loads::no_failures)?;
    none_drains(mesh)?;
    no_failures(servers)?;
    mesh.until_enrolled()
}

/// What a proxy pinned becomes another version's, whose maps this one cannot use.
fn age(mesh: &Mesh, node: &str) -> Result<PathBuf> {
    let pins = mesh.pins(node)?;
    let layouts = fs::read_dir(&pins)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let [layout] = &layouts[..] else { bail!("{layouts:?}") };
    let aged = pins.join("layout-0");
    fs::rename(layout, &aged)?;
    Ok(aged)
}

pub(super) fn another_version(mesh: &Mesh) -> Result<()> {
    let servers = serve(mesh)?;
    let loads = Loads::start(mesh)?;
    for proxy in mesh.proxies() {
        let aged = age(mesh, proxy.node())?;
        proxy.take_over().with_context(|| format!("another version of {proxy}"))?;
        ensure!(!aged.exists(), "the older version's programs are still attached");
        loads.keep_on(100)?;
    }
    loads.no_failures()?;
    none_drains(mesh)?;
    no_failures(servers)?;

    let _servers = serve(mesh)?;
    let wire = Capture::start(&mesh.node("a"))?;
    let target = mesh.service("closed-server").at(80);
    let pause = Duration::from_millis(3);
    let load = Steady::start(mesh.pod("closed-client").netns(), target, Style::Fresh, 2, pause);
    load.keep_on(20)?;
    for proxy in mesh.proxies() {
        proxy.kill()?;
        let aged = age(mesh, proxy.node())?;
        proxy.revive()?;
        mesh.until_enrolled()?;
        wait::until_ok("it serves", || request(mesh, "closed-client", target))?;
        wait::until_for(Duration::from_secs(15), "the older version's programs are detached", || {
            !aged.exists()
        })?;
        load.keep_on(20)?;
    }
    load.stop();
    only_tls(wire, &mesh.pod("closed-server"))?;
    mesh.until_enrolled()
}

pub(super) fn drain_timeout(mesh: &Mesh) -> Result<()> {
    let _servers = serve(mesh)?;
    let target = mesh.service("closed-server").at(80);
    let mut stubborn: Vec<TcpStream> = Vec::new();
    for _ in 0..5 {
        let mut stream = mesh.pod("closed-client").connect(target)?;
        ping(&mut stream)?;
        stubborn.push(stream);
    }
    let proxy = mesh.proxy("a");
    let old = proxy.pid()?;
    proxy.take_over()?;
    kill(Pid::from_raw(old.cast_signed()), Signal::SIGTERM)?;
    for stream in &mut stubborn {
        ping(stream).context("SIGTERM for the one that is relieved cut a connection")?;
    }
    request(mesh, "closed-client", target)?;
    wait::until_for(DRAIN + wait::PROMPTLY, "the old process ends at its drain timeout", || {
        proxy.draining().is_ok_and(|count| count == 0)
    })?;
    for stream in &mut stubborn {
        ensure!(ping(stream).is_err(), "who carries this connection now?");
    }
    proxy.log().expect_line(&["drain timeout", "open=5"])?;
    request(mesh, "closed-client", target)?;
    mesh.until_enrolled()
}

/// How many successors are killed.
const KILLS: usize = 24;

pub(super) fn successor_is_killed(mesh: &Mesh) -> Result<()> {
    let servers = serve(mesh)?;
    let loads = Loads::start(mesh)?;
    for round in 0..KILLS {
        let proxy = &mesh.proxies()[round % 2];
        proxy.launch()?;
        // It is ready after some 100 ms; from the first moments to shortly before that.
        thread::sleep(Duration::from_millis(4 * round as u64));
        // One that is told to end, not having taken over, leaves the kernel's books and heartbeat to the other.
        if round / 2 % 2 == 0 {
            proxy.kill_latest()?
        } else {
            proxy.terminate()?
        }
        loads.keep_on(10).with_context(|| format!("after the successor's end in round {round}"))?;
    }
    for proxy in mesh.proxies() {
        proxy.take_over().context("the one that is to stay")?;
    }
    loads.keep_on(100)?;
    // It accepts beside the other before it says so: those connections end with it.
    loads.forgiving((KILLS * FRESH) as u64)?;
    none_drains(mesh)?;
    drop(servers);
    mesh.until_enrolled()
}

pub(super) fn predecessor_is_killed(mesh: &Mesh) -> Result<()> {
    let _servers = serve(mesh)?;
    let target = mesh.service("closed-server").at(80);
    let server = mesh.pod("closed-server");
    let wire = Capture::start(&mesh.node("a"))?;
    let load =
        Steady::start(mesh.pod("closed-client").netns(), target, Style::Fresh, 2, Duration::from_millis(3));
    load.keep_on(50)?;
    let mut slowest = Duration::ZERO;
    for round in 0..16 {
        let proxy = &mesh.proxies()[round % 2];
        let old = proxy.pid()?;
        proxy.launch()?;
        // It hands over after some 50 ms and is relieved after some 100 more.
        thread::sleep(Duration::from_millis(12 * round as u64));
        kill(Pid::from_raw(old.cast_signed()), Signal::SIGKILL)?;
        let begun = Instant::now();
        wait::until_ok("the successor serves", || request(mesh, "closed-client", target))
            .with_context(|| format!("in round {round}"))?;
        slowest = slowest.max(begun.elapsed());
        mesh.until_enrolled().with_context(|| format!("in round {round}"))?;
        load.keep_on(20)?;
    }
    none_drains(mesh)?;
    let met = load.stop();
    let records = only_tls(wire, &server)?;
    println!("served again after {slowest:?} at most; {met:?}; {records} TLS records, nothing else");
    Ok(())
}

/// How many records went to the server or came from it, and nothing else.
fn only_tls(wire: Capture, server: &Pod) -> Result<usize> {
    let mut records = 0;
    for (ends, stream) in wire.finish()?.of(server.v4.into(), 8080).streams() {
        records += tls_records(&stream).with_context(|| format!("plaintext: {ends:?}"))?.whole;
    }
    ensure!(records > 0, "nothing was captured");
    Ok(records)
}
