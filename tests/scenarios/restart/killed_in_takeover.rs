//! A process that is killed during a takeover: the successor or the predecessor.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use weft_tests::{
    capture::Capture,
    load::{Steady, Style},
    mesh::Mesh,
    suite::Area,
    wait,
};

use super::{
    loads::{FRESH_CLIENTS, Loads, only_tls, serve, until_drained},
    request, two_modes,
};

pub(super) fn scenarios(area: Area) -> Area {
    area.alone(
        "successor_is_killed",
        "A successor that is killed at any time of a takeover breaks only the connections that it has accepted \
         itself; no connection is refused, and the next successor takes over.",
        two_modes,
        successor,
    )
    .alone(
        "predecessor_is_killed",
        "A proxy that is killed at any time of a takeover leaves a successor that serves, and not one byte of \
         plaintext is sent.",
        two_modes,
        predecessor,
    )
}

const KILLED_SUCCESSORS: usize = 24;
const KILLED_PREDECESSORS: usize = 16;

fn successor(mesh: &Mesh) -> Result<()> {
    let _servers = serve(mesh)?;
    let loads = Loads::start(mesh)?;
    for round in 0..KILLED_SUCCESSORS {
        let proxy = &mesh.proxies()[round % 2];
        proxy.launch()?;
        // A successor is ready after about 100 ms; it ends at any time until shortly before that.
        thread::sleep(Duration::from_millis(4 * round as u64));
        // A successor that receives SIGTERM before it has taken over must leave maps and heartbeat to the predecessor.
        if round / 2 % 2 == 0 {
            proxy.kill_latest()?
        } else {
            proxy.terminate()?
        }
        loads.keep_on(10).with_context(|| format!("after the successor's end in round {round}"))?;
    }
    for proxy in mesh.proxies() {
        proxy.take_over().context("the last successor")?;
    }
    loads.keep_on(100)?;
    // A successor accepts connections beside the predecessor before it has taken over: they end with it.
    loads.at_most_resets((KILLED_SUCCESSORS * FRESH_CLIENTS) as u64)?;
    until_drained(mesh)?;
    mesh.until_enrolled()
}

fn predecessor(mesh: &Mesh) -> Result<()> {
    let _servers = serve(mesh)?;
    let (target, server) = (mesh.service("closed-server").at(80), mesh.pod("closed-server"));
    let wire = Capture::start(&mesh.node("a"))?;
    let pause = Duration::from_millis(3);
    let load = Steady::start(mesh.pod("closed-client").netns(), target, Style::Fresh, 2, pause);
    load.keep_on(50)?;
    let mut slowest = Duration::ZERO;
    for round in 0..KILLED_PREDECESSORS {
        let proxy = &mesh.proxies()[round % 2];
        let old = proxy.pid()?;
        proxy.launch()?;
        // The predecessor hands over after about 50 ms and the takeover is complete about 100 ms later.
        thread::sleep(Duration::from_millis(12 * round as u64));
        kill(Pid::from_raw(old.cast_signed()), Signal::SIGKILL)?;
        let begun = Instant::now();
        wait::until_ok("the successor serves", || request(mesh, "closed-client", target))
            .with_context(|| format!("in round {round}"))?;
        slowest = slowest.max(begun.elapsed());
        mesh.until_enrolled().with_context(|| format!("in round {round}"))?;
        load.keep_on(20)?;
    }
    until_drained(mesh)?;
    let outcome = load.stop();
    let records = only_tls(wire, &server)?;
    println!("served again after {slowest:?} at most; {outcome:?}; {records} TLS records and no plaintext");
    Ok(())
}
