//! What do passes leave behind when proxies come and go?

use std::{io::Read, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    load::{Steady, Style},
    mesh::Mesh,
    suite::Area,
    wait,
};

use super::withdrawn::{directly, echo, pairs, talk};

pub(super) fn scenarios(area: Area) -> Area {
    area.alone(
        "after_dead_successors",
        "Successors that die while they take over leave no pass behind and take none along: connections go directly, are \
         counted, and do no longer when policy says so.",
        pairs,
        after_dead_successors,
    )
    .alone(
        "changed_meanwhile",
        "A policy that changed while no proxy ran ends the open connections that it does not admit, and no others.",
        pairs,
        changed_meanwhile,
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
        // It accepts after some 50 ms and is ready after some 100.
        thread::sleep(Duration::from_millis(9 * round));
        proxy.kill_latest()?;
        load.keep_on(10).with_context(|| format!("after the successor's death in round {round}"))?;
    }
    // It accepts beside the other before it says so: those connections end with it.
    let met = load.stop();
    ensure!(met.failures.values().sum::<u64>() <= 20, "{met:?}");

    let before = proxy.watch()?;
    let mut open = directly(mesh, target).context("after all of them")?;
    before.expect_some("weft_direct_connections_total", &[("side", "destination")])?;
    mesh.change_pod("server", |pod| pod.policy("deny"))?;
    let ended = wait::promptly("the end of the open connection", || open.read(&mut [0]))?;
    ensure!(!matches!(ended, Ok(1..)), "{ended:?}");
    for _ in 0..3 {
        ensure!(echo(mesh, target).is_err(), "somebody's pass still holds");
    }
    mesh.change_pod("server", |pod| pod.policy("all-authenticated"))?;
    directly(mesh, target).map(drop)
}

fn changed_meanwhile(mesh: &Mesh) -> Result<()> {
    let (server, choice) = (mesh.pod("server"), mesh.pod("choice-1"));
    let _served = [server.serve(9000, backends::echo())?, choice.serve(9000, backends::echo())?];
    let mut denied = directly(mesh, server.at(9000))?;
    let mut admitted = directly(mesh, choice.at(9000))?;
    mesh.proxy("a").kill()?;
    mesh.change_pod("server", |pod| pod.policy("deny"))?;
    talk(&mut denied).context("without a proxy")?;
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()?;
    let ended = wait::promptly("the end of the connection", || denied.read(&mut [0]))?;
    ensure!(!matches!(ended, Ok(1..)), "{ended:?}");
    mesh.proxy("a").log().expect_line(&["terminated", "test/server"])?;
    // Until who is not known by then is a stranger for good, and a moment longer.
    thread::sleep(Duration::from_secs(8));
    talk(&mut admitted).context("whom nobody denies")
}
