//! The control plane is away or hangs, and returns to a changed cluster.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    load::{Steady, Style},
    mesh::{Description, Mesh, Pod, mesh},
    suite::Area,
    wait,
};

pub(super) fn scenarios(area: Area) -> Area {
    area.alone(
        "control_away_and_changed",
        "While the control plane is away, known destinations are served, also to new connections, and an upgrade \
         is postponed; when it is back, changed policies, endpoints and pods take effect, and no connection has \
         failed.",
        description,
        changed_meanwhile,
    )
    .within(Duration::from_secs(600))
    .alone(
        "control_hangs",
        "A control plane that hangs and continues affects no connection, and no pod is announced as unmeshed.",
        description,
        hangs,
    )
    .within(Duration::from_secs(600))
}

/// How long it is away: longer than proxies need to notice, and longer than a takeover waits for it.
fn away() -> Duration {
    let asked = std::env::var("WEFT_AWAY_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(15))
}

fn description() -> Description {
    mesh("away")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("near", |pod| pod.node("a").meshed())
        .pod("web", |pod| pod.node("b").meshed().policy("all-authenticated"))
        .pod("open", |pod| pod.node("b").meshed())
        .pod("policy", |pod| pod.node("b").meshed())
        .pod("deleted", |pod| pod.node("b").meshed())
        .pod("choice-1", |pod| pod.node("b").meshed().app("choice"))
        .service("web", |service| service.port(80, 8080))
        .service("choice", |service| service.port(80, 8080))
}

fn loads(mesh: &Mesh) -> Result<Vec<Steady>> {
    let client = mesh.pod("client");
    let targets = [mesh.service("web").at(80), mesh.pod("open").at6(8080), mesh.pod("near").at(8080)];
    let start =
        |target, style, pause| Steady::start(client.netns(), target, style, 2, Duration::from_millis(pause));
    let loads: Vec<_> =
        targets.iter().flat_map(|to| [start(*to, Style::Fresh, 5), start(*to, Style::Kept, 20)]).collect();
    keep_on(&loads)?;
    Ok(loads)
}

fn keep_on(loads: &[Steady]) -> Result<()> {
    loads.iter().try_for_each(|load| load.keep_on(50))
}

fn echo(client: &Pod, target: SocketAddr) -> Result<()> {
    let mut stream = client.connect(target)?;
    stream.write_all(b"?")?;
    Ok(stream.read_exact(&mut [0])?)
}

fn choice(mesh: &Mesh) -> Result<String> {
    let mut name = String::new();
    mesh.pod("client").connect(mesh.service("choice").at(80))?.read_to_string(&mut name)?;
    Ok(name)
}

fn changed_meanwhile(mesh: &Mesh) -> Result<()> {
    let _servers = ["web", "open", "near", "policy", "deleted"]
        .map(|pod| mesh.pod(pod).serve(8080, backends::echo()))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let first = mesh.pod("choice-1").serve(8080, backends::name("choice-1"))?;
    let (client, policy) = (mesh.pod("client"), mesh.pod("policy"));
    echo(&client, policy.at(8080))?;
    ensure!(choice(mesh)? == "choice-1");
    let loads = loads(mesh)?;

    mesh.control().kill()?;
    let stopped = Instant::now();
    keep_on(&loads)?;
    mesh.change_pod("policy", |pod| pod.policy("deny"))?;
    mesh.remove_pod("deleted")?;
    mesh.declare_pod("choice-2", |pod| pod.node("a").meshed().app("choice"))?;
    wait::until("the new pod runs", || mesh.holds_pod("choice-2"))?;
    let second = mesh.pod("choice-2").serve(8080, backends::name("choice-2"))?;
    mesh.change_pod("choice-1", |pod| pod.app("nobody"))?;
    let handed = mesh.proxy("a").take_over();
    ensure!(handed.is_err(), "a successor took over without knowing a single workload");
    while stopped.elapsed() < away() {
        keep_on(&loads)?;
        echo(&client, policy.at(8080)).context("known destinations are still served")?;
    }
    ensure!(choice(mesh)? == "choice-1", "known destinations are still served");

    mesh.control().revive()?;
    let back = Instant::now();
    mesh.until_enrolled()?;
    wait::until("the new policy holds", || echo(&client, policy.at(8080)).is_err())?;
    wait::until("the new endpoint is used", || choice(mesh).is_ok_and(|name| name == "choice-2"))?;
    let served = mesh.proxy("b").config()?["workloads"]
        .as_object()
        .is_some_and(|all| all.contains_key("test/deleted"));
    ensure!(!served, "the deleted pod is still served");
    println!(
        "away for {:?}; all changes took effect {:?} after the return",
        stopped.elapsed(),
        back.elapsed()
    );
    keep_on(&loads)?;
    for load in loads {
        load.stop().no_failures()?;
    }
    first.no_failures()?;
    second.no_failures()?;
    let withdrawn = mesh.control().metrics()?.value("weft_control_pods_withdrawn_total", &[]);
    ensure!(withdrawn == 0.0, "{withdrawn} pods were announced as unmeshed, although their proxies run");
    mesh.proxy("a").take_over().context("a takeover with the control plane")
}

fn hangs(mesh: &Mesh) -> Result<()> {
    let servers = ["web", "open", "near"]
        .map(|pod| mesh.pod(pod).serve(8080, backends::echo()))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let secured = [("direction", "inbound"), ("pod", "open"), ("tls", "true")];
    let loads = loads(mesh)?;
    mesh.control().pause()?;
    let stopped = Instant::now();
    while stopped.elapsed() < away() {
        keep_on(&loads)?;
        thread::sleep(Duration::from_millis(100));
    }
    mesh.control().resume()?;
    let late = mesh.add_pod("late", |pod| pod.node("b").meshed().policy("all-authenticated"))?;
    let server = late.serve(8080, backends::echo())?;
    wait::until_ok("a new pod is reached", || echo(&mesh.pod("client"), late.at(8080)))?;
    keep_on(&loads)?;
    let proxy = mesh.proxy("b").watch()?;
    keep_on(&loads)?;
    proxy.expect_some("tcp_open_total", &secured)?;
    for load in loads {
        load.stop().no_failures()?;
    }
    let withdrawn = mesh.control().metrics()?.value("weft_control_pods_withdrawn_total", &[]);
    ensure!(withdrawn == 0.0, "{withdrawn} pods were announced as unmeshed, although their proxies run");
    servers.iter().chain([&server]).try_for_each(|server| server.no_failures())
}
