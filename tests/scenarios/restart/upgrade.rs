//! Upgrades: a new proxy process takes over from the old one.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use weft_tests::{
    backends,
    load::{Steady, Style},
    mesh::Mesh,
    suite::Area,
    texts::log,
    wait,
};

use super::{
    DRAIN,
    loads::{Loads, serve, until_drained},
    nothing_in_plaintext, ping, request, two_modes,
};

pub(super) fn scenarios(area: Area) -> Area {
    area.alone(
        "takeover_under_load",
        "A second proxy process takes over on both nodes under load: no connection fails, open ones stay with the \
         old process until they end, and it ends after them.",
        two_modes,
        takeover_under_load,
    )
    .alone(
        "two_upgrades_in_a_row",
        "Two takeovers in a row fail none of hundreds of new connections per second, to the same and to another \
         node; lasting connections stay with their process, and each process ends after its last one.",
        two_modes,
        two_in_a_row,
    )
    .scenario(
        "takeover_drain_is_bounded",
        "After a takeover the old process ignores the SIGTERM of its service manager, resets the remaining \
         connections at its drain timeout, and logs their number.",
        drain_timeout,
    )
}

fn two_in_a_row(mesh: &Mesh) -> Result<()> {
    let servers = serve(mesh)?;
    let mut loads = Vec::new();
    for generation in 2..=3 {
        // Each generation has its own lasting connections.
        loads.push(Loads::start(mesh)?);
        for proxy in mesh.proxies() {
            let begun = Instant::now();
            proxy.take_over().with_context(|| format!("generation {generation} of {proxy}"))?;
            println!("generation {generation} of {proxy} took over in {:?}", begun.elapsed());
            loads.iter().try_for_each(|loads| loads.keep_on(100))?;
        }
    }
    for proxy in mesh.proxies() {
        ensure!(proxy.draining()? == 2, "{proxy}: its two predecessors should still have connections");
    }
    loads.into_iter().try_for_each(Loads::no_failures)?;
    until_drained(mesh)?;
    servers.iter().try_for_each(|server| server.no_failures())?;
    mesh.until_enrolled()
}

fn drain_timeout(mesh: &Mesh) -> Result<()> {
    let _servers = serve(mesh)?;
    let target = mesh.service("closed-server").at(80);
    let mut lasting: Vec<TcpStream> = Vec::new();
    for _ in 0..5 {
        let mut stream = mesh.pod("closed-client").connect(target)?;
        ping(&mut stream)?;
        lasting.push(stream);
    }
    let proxy = mesh.proxy("a");
    let old = proxy.pid()?;
    proxy.take_over()?;
    kill(Pid::from_raw(old.cast_signed()), Signal::SIGTERM)?;
    for stream in &mut lasting {
        ping(stream).context("after SIGTERM for the draining process")?;
    }
    request(mesh, "closed-client", target)?;
    wait::until_for(DRAIN + wait::PROMPTLY, "the old process ends at its drain timeout", || {
        proxy.draining().is_ok_and(|count| count == 0)
    })?;
    for stream in &mut lasting {
        ensure!(ping(stream).is_err(), "a connection of the ended process still works");
    }
    proxy.log().expect_line(&[log::DRAIN_TIMEOUT, "open=5"])?;
    request(mesh, "closed-client", target)?;
    mesh.until_enrolled()
}

fn takeover_under_load(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    let targets = [mesh.service("closed-server").at(80), mesh.pod("closed-server").at6(8080)];
    let client = mesh.pod("closed-client");
    let start = |style| {
        targets.map(|target| Steady::start(client.netns(), target, style, 4, Duration::from_millis(2)))
    };
    let (fresh, kept) = (start(Style::Fresh), start(Style::Kept));
    let all = || fresh.iter().chain(&kept);
    all().try_for_each(|load| load.keep_on(100))?;
    for proxy in mesh.proxies() {
        let (before, begun) = (proxy.pid()?, kept.iter().map(|load| load.so_far().connections).sum::<u64>());
        proxy.take_over().with_context(|| proxy.to_string())?;
        ensure!(proxy.pid()? != before, "{proxy}: still the same process");
        all().try_for_each(|load| load.keep_on(200))?;
        let now = kept.iter().map(|load| load.so_far().connections).sum::<u64>();
        ensure!(now == begun, "{} lasting connections had to be reopened", now - begun);
    }
    for load in kept.into_iter().chain(fresh) {
        load.stop().no_failures()?;
    }
    for proxy in mesh.proxies() {
        wait::until("the old process ends after its connections", || {
            proxy.draining().is_ok_and(|count| count == 0)
        })?;
    }
    nothing_in_plaintext(mesh)?;
    server.no_failures()?;
    mesh.until_enrolled()
}
