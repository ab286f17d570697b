//! Direct pass when proxies are killed and replaced.

use std::{io::Read, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    load::{Steady, Style},
    mesh::Mesh,
    suite::Area,
    texts::log,
    wait,
};

use super::withdrawn::{directly, echo, pairs, talk};

pub(super) fn scenarios(area: Area) -> Area {
    area.alone(
        "after_dead_successors",
        "Successors that are killed during a takeover do not affect direct pass: connections go directly and are \
         counted, and no longer when a policy denies them.",
        pairs,
        after_dead_successors,
    )
    .alone(
        "changed_without_a_proxy",
        "A policy that changes while no proxy runs ends the open connections that it denies, and no others.",
        pairs,
        changed_without_a_proxy,
    )
}

fn after_dead_successors(mesh: &Mesh) -> Result<()> {
    let (pod, proxy) = (mesh.pod("server"), mesh.proxy("a"));
    let _server = pod.serve(9000, backends::echo())?;
    let target = pod.at(9000);
    drop(directly(mesh, target)?);
    let pause = Duration::from_millis(2);
    let load = Steady::start(mesh.pod("client").netns(), target, Style::Fresh, 2, pause);
    for round in 0..10 {
        proxy.launch()?;
        // A successor accepts after about 50 ms and is ready after about 100 ms.
        thread::sleep(Duration::from_millis(9 * round));
        proxy.kill_latest()?;
        load.keep_on(10).with_context(|| format!("after the successor's death in round {round}"))?;
    }
    // A successor accepts connections beside the predecessor before it has taken over: they end with it.
    let outcome = load.stop();
    ensure!(outcome.failures.values().sum::<u64>() <= 20, "{outcome:?}");

    let before = proxy.watch()?;
    let mut open = directly(mesh, target).context("after all killed successors")?;
    before.expect_some("weft_direct_connections_total", &[("side", "destination")])?;
    mesh.change_pod("server", |pod| pod.policy("deny"))?;
    let ended = wait::promptly("the end of the open connection", || open.read(&mut [0]))?;
    ensure!(!matches!(ended, Ok(1..)), "{ended:?}");
    for _ in 0..3 {
        ensure!(echo(mesh, target).is_err(), "a connection still goes directly");
    }
    mesh.change_pod("server", |pod| pod.policy("all-authenticated"))?;
    directly(mesh, target).map(drop)
}

fn changed_without_a_proxy(mesh: &Mesh) -> Result<()> {
    let (server, choice) = (mesh.pod("server"), mesh.pod("choice-1"));
    let _served = [server.serve(9000, backends::echo())?, choice.serve(9000, backends::echo())?];
    let mut denied = directly(mesh, server.at(9000))?;
    let mut allowed = directly(mesh, choice.at(9000))?;
    mesh.proxy("a").kill()?;
    mesh.change_pod("server", |pod| pod.policy("deny"))?;
    talk(&mut denied).context("without a proxy")?;
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()?;
    let ended = wait::promptly("the end of the connection", || denied.read(&mut [0]))?;
    ensure!(!matches!(ended, Ok(1..)), "{ended:?}");
    mesh.proxy("a").log().expect_line(&[log::DIRECT_CONNECTION_TERMINATED, "test/server"])?;
    // Longer than the time after which connections of unknown clients are ended.
    thread::sleep(Duration::from_secs(8));
    talk(&mut allowed).context("the connection that is still allowed")
}
