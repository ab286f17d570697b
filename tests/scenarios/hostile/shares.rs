//! Limits: a workload or client that uses everything it can leaves enough to others.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    load::{Steady, Style},
    mesh::{Description, Mesh},
    suite::Area,
    texts::{error, log},
    wait,
};

use super::{attacker_and_victims, others_are_served};

pub(super) fn area() -> Area {
    Area::new("hostile_shares", few_connections)
        .scenario(
            "a_greedy_workload",
            "A pod that opens as many connections as it can leaves as many to the other pods of its node, which notice \
             nothing.",
            a_greedy_workload,
        )
        .scenario(
            "a_greedy_client",
            "A client that opens as many connections to a server as it can, idle or accepted, leaves room for other \
             clients.",
            a_greedy_client,
        )
        .scenario(
            "a_flood_of_connections",
            "While a pod opens and closes connections as fast as it can, no connection of another pod on its node \
             fails.",
            a_flood_of_connections,
        )
        .scenario(
            "out_of_descriptors",
            "A proxy without file descriptors refuses connections, logs that at a bounded rate, and recovers.",
            out_of_descriptors,
        )
}

const NODE: usize = 240;

fn few_connections() -> Description {
    attacker_and_victims().proxy_arg(&format!("--max-connections={NODE}"))
}

/// Opens connections and returns those that are answered.
fn take(mesh: &Mesh, pod: &str, target: std::net::SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let pod = mesh.pod(pod);
    let mut open = Vec::new();
    for _ in 0..count {
        let Ok(mut stream) = pod.connect(target) else { continue };
        let answered = stream.write_all(b"?").and_then(|()| stream.read_exact(&mut [0]));
        if answered.is_ok() {
            open.push(stream);
        }
    }
    Ok(open)
}

fn a_greedy_workload(mesh: &Mesh) -> Result<()> {
    let (mallory, stranger, far) = (mesh.pod("mallory"), mesh.pod("stranger"), mesh.pod("far"));
    // Not through another proxy: the limit that is tested is that of the attacker's node.
    let sink = stranger.serve(mesh.unused_port(), backends::echo())?;
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let watch = mesh.proxy("a").watch()?;
    let others =
        Steady::start(mesh.pod("bystander").netns(), far.at(server.port()), Style::Fresh, 4, Duration::ZERO);
    others.keep_on(50)?;
    let taken = take(mesh, "mallory", stranger.at(sink.port()), NODE)?;
    ensure!(taken.len() <= NODE / 2 && taken.len() >= NODE / 3, "{} of {NODE} taken", taken.len());
    others.keep_on(200)?;
    watch.expect_some("outbound_tcp_errors_total", &[("pod", "mallory"), ("error", error::NODE_LIMIT)])?;
    mesh.proxy("a").log().expect_line(&[
        "mallory",
        log::CONNECTION_REFUSED,
        log::LIMIT_FOR_OTHER_WORKLOADS,
    ])?;
    let now = mesh.proxy("a").metrics()?;
    ensure!(now.value("weft_connections_limit", &[]) == NODE as f64);
    ensure!(now.value("weft_connections_open", &[]) >= taken.len() as f64);
    // There is room for a third pod, too.
    let third = take(mesh, "near", stranger.at(sink.port()), 20)?;
    ensure!(third.len() == 20, "{} of 20", third.len());
    others.stop().no_failures()?;
    drop((taken, third, mallory));
    mesh.proxy("a").watch()?;
    wait::until_ok("no connection is open", || {
        let open = mesh.proxy("a").metrics()?.value("weft_connections_open", &[]);
        ensure!(open == 0.0, "{open} are open");
        Ok(())
    })
}

fn a_greedy_client(mesh: &Mesh) -> Result<()> {
    let (stranger, far, open) = (mesh.pod("stranger"), mesh.pod("far"), mesh.pod("mallory"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let watch = mesh.proxy("b").watch()?;
    // Idle connections, on which nothing is sent. A refusal may already fail connect().
    let idle: Vec<_> = (0..NODE).map(|_| stranger.connect(far.at(server.port()))).collect();
    watch.expect_some("inbound_tcp_errors_total", &[("pod", "far"), ("error", error::CLIENT_LIMIT)])?;
    mesh.proxy("b").log().expect_line(&[
        "far",
        log::CONNECTION_REFUSED,
        log::LIMIT_FOR_OTHER_CLIENTS,
        &stranger.v4.to_string(),
    ])?;
    let others = take(mesh, "bystander", far.at(server.port()), 20)?;
    ensure!(others.len() == 20, "{} of 20", others.len());
    drop((idle, others));
    // Accepted connections, to a pod that accepts everybody.
    let server = open.serve(mesh.unused_port(), backends::echo())?;
    let taken = take(mesh, "stranger", open.at(server.port()), NODE)?;
    ensure!(taken.len() < NODE / 2, "{} of {NODE}", taken.len());
    let others = take(mesh, "far", open.at(server.port()), 20)?;
    ensure!(others.len() == 20, "{} of 20", others.len());
    Ok(())
}

fn a_flood_of_connections(mesh: &Mesh) -> Result<()> {
    let (mallory, far) = (mesh.pod("mallory"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let target = far.at(server.port());
    let latency = |rounds: usize| -> Result<(Duration, Duration)> {
        let mut stream = mesh.pod("bystander").connect(target)?;
        let mut took = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let start = Instant::now();
            stream.write_all(&[7; 128])?;
            stream.read_exact(&mut [0; 128])?;
            took.push(start.elapsed());
        }
        took.sort_unstable();
        Ok((took[rounds / 2], took[rounds * 99 / 100]))
    };
    let fresh = Steady::start(mesh.pod("bystander").netns(), target, Style::Fresh, 2, Duration::ZERO);
    let calm = latency(500)?;
    let flood = Steady::start(mallory.netns(), target, Style::Fresh, 32, Duration::ZERO);
    flood.keep_on(200)?;
    let flooded = latency(500)?;
    fresh.keep_on(50)?;
    let opened = flood.stop().connections;
    // For information: times are not checked.
    println!("     p50 and p99 of the bystander: {calm:?} calm, {flooded:?} beside {opened} connections");
    fresh.stop().no_failures()
}

fn out_of_descriptors(mesh: &Mesh) -> Result<()> {
    let (stranger, far) = (mesh.pod("stranger"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let proxy = mesh.proxy("b");
    let watch = proxy.watch()?;
    let limit = |soft: usize| -> Result<()> {
        let pid = format!("--pid={}", proxy.pid()?);
        let status = Command::new("prlimit").args([pid, format!("--nofile={soft}:")]).status()?;
        ensure!(status.success(), "prlimit: {status}");
        Ok(())
    };
    let before = soft_limit(proxy.pid()?)?;
    // Descriptors below 10 are in use permanently, so none is left, not even for scrapes.
    limit(10)?;
    let streams = stranger.connect_many(far.at(server.port()), 40);
    let line = proxy.log().expect_line(&["far", log::CONNECTION_NOT_ACCEPTED]);
    std::thread::sleep(Duration::from_secs(1));
    limit(before)?;
    let (streams, _) = (streams?, line?);
    watch.eventually(|now| {
        let errors = now.value("inbound_tcp_errors_total", &[("pod", "far"), ("error", error::IO)]);
        // Not in a busy loop, but some attempts per second.
        ensure!(errors > 0.0 && errors < 500.0, "{errors} attempts");
        Ok(())
    })?;
    drop(streams);
    wait::until_ok("the proxy recovers", || others_are_served(mesh)).context("after the limit was lifted")
}

/// The soft limit of open files of a process.
fn soft_limit(pid: u32) -> Result<usize> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("no limit")?;
    Ok(line.split_whitespace().nth(3).context("no soft limit")?.parse()?)
}
