//! Upgrades: a new proxy process takes over from the old one.

use std::{net::TcpStream, time::Instant};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use weft_tests::{mesh::Mesh, texts::log, wait};

use super::{
    DRAIN,
    loads::{Loads, serve, until_drained},
    ping, request,
};

pub(super) fn two_in_a_row(mesh: &Mesh) -> Result<()> {
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

pub(super) fn drain_timeout(mesh: &Mesh) -> Result<()> {
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
