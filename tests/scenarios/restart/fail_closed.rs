//! Pods that fail closed, while their proxy is dead or hangs: nothing is sent in plaintext.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends::{self, Server},
    capture::{Capture, Captured, tls_records},
    load::{Steady, Style},
    mesh::{Mesh, Pod},
    suite::Area,
    wait,
};

use super::{ping, request};

pub(super) fn scenarios(area: Area) -> Area {
    area.scenario(
        "fail_closed_under_load",
        "While a node's proxy is dead, connections from and to its pods that fail closed are refused at once, \
         under load; a capture shows nothing but TLS, and not one byte of new connections; a restarted proxy \
         serves the pods again.",
        under_load,
    )
    .scenario(
        "hung_proxy_fails_closed",
        "While a proxy hangs, connections from and to its pods that fail closed are refused, and the pods send no \
         plaintext; open connections wait and go on.",
        hung,
    )
}

/// New and lasting connections.
fn loads(client: &Pod, targets: &[SocketAddr]) -> Vec<Steady> {
    let start =
        |target, style, pause| Steady::start(client.netns(), target, style, 2, Duration::from_millis(pause));
    targets.iter().flat_map(|to| [start(*to, Style::Fresh, 2), start(*to, Style::Kept, 5)]).collect()
}

fn failures(load: &Steady) -> u64 {
    load.so_far().failures.values().sum()
}

/// Waits until each load has failed `more` times.
fn fail_on(loads: &[Steady], more: u64) -> Result<()> {
    for load in loads {
        let goal = failures(load) + more;
        wait::until("the load fails", || failures(load) >= goal)?;
    }
    Ok(())
}

/// Fails unless the kernel refuses the connection at once; returns how long that took.
fn refused(mesh: &Mesh, client: &str, target: SocketAddr) -> Result<Duration> {
    let begun = Instant::now();
    let kind = wait::promptly("the refusal", || mesh.pod(client).connect(target))?.map(drop);
    let kind = kind.map_err(|e| e.kind());
    ensure!(kind == Err(ErrorKind::ConnectionRefused), "{client} to {target}: {kind:?}");
    Ok(begun.elapsed())
}

/// Starts a proxy; returns how long it takes until a connection works.
fn recovered(mesh: &Mesh, node: &str, client: &str, target: SocketAddr) -> Result<Duration> {
    let begun = Instant::now();
    mesh.proxy(node).launch()?;
    wait::until_ok("a connection after the restart", || request(mesh, client, target))?;
    let took = begun.elapsed();
    mesh.until_enrolled()?;
    Ok(took)
}

/// The packets from or to these addresses.
fn of(captured: &Captured, addresses: &[IpAddr]) -> Captured {
    let ours = |ip: &IpAddr| addresses.contains(ip);
    let packets =
        captured.packets.iter().filter(|packet| ours(&packet.source.0) || ours(&packet.destination.0));
    Captured { packets: packets.cloned().collect() }
}

fn addresses(pod: &Pod) -> [IpAddr; 2] {
    [pod.v4.into(), pod.v6.into()]
}

/// Fails if anything but TLS was captured; returns the number of complete records.
fn all_tls(captured: &Captured) -> Result<usize> {
    let mut records = 0;
    for ((from, to), stream) in captured.streams() {
        let tls = tls_records(&stream).with_context(|| {
            format!(
                "plaintext from {from:?} to {to:?}: {:?}",
                String::from_utf8_lossy(&stream[..stream.len().min(64)])
            )
        })?;
        records += tls.whole;
    }
    Ok(records)
}

fn under_load(mesh: &Mesh) -> Result<()> {
    let _servers = [
        mesh.pod("closed-server").serve(8080, backends::echo())?,
        mesh.pod("closed-near").serve(8080, backends::echo())?,
        mesh.pod("plain-server").serve(8080, backends::echo())?,
    ];
    let (client, server) = (mesh.pod("closed-client"), mesh.pod("closed-server"));
    let far = mesh.service("closed-server").at(80);
    let targets = [far, server.at6(8080), mesh.service("closed-near").at(80)];
    let outside = mesh.pod("plain-server").at(8080);
    request(mesh, "closed-client", outside).context("to an unmeshed pod, while the proxy runs")?;

    let wire = Capture::start(&mesh.node("a"))?;
    let pods = [Capture::on(client.netns(), "eth0")?, Capture::on(server.netns(), "eth0")?];
    let loads = loads(&client, &targets);
    loads.iter().try_for_each(|load| load.keep_on(50))?;

    // The source's proxy is killed.
    mesh.proxy("a").kill()?;
    let silence = Capture::on(client.netns(), "eth0")?;
    let mut slowest = Duration::ZERO;
    for target in targets.into_iter().chain([outside, mesh.pod("plain-server").at6(8080)]) {
        slowest = slowest.max(refused(mesh, "closed-client", target)?);
    }
    slowest = slowest.max(refused(mesh, "plain-client", mesh.pod("closed-near").at(8080))?);
    fail_on(&loads, 100)?;
    let bytes = of(&silence.finish()?, &addresses(&client)).bytes();
    ensure!(bytes == 0, "a pod without a proxy sent or received {bytes} bytes");
    let source = recovered(mesh, "a", "closed-client", far)?;
    loads.iter().try_for_each(|load| load.keep_on(50))?;

    // The destination's proxy is killed; the source's runs.
    mesh.proxy("b").kill()?;
    let silence = Capture::on(server.netns(), "eth0")?;
    for target in [server.at(8080), server.at6(8080)] {
        slowest = slowest.max(refused(mesh, "plain-client", target)?);
    }
    fail_on(&loads[..4], 10)?;
    loads[4..].iter().try_for_each(|load| load.keep_on(50)).context("on the node whose proxy runs")?;
    let bytes = of(&silence.finish()?, &addresses(&server)).bytes();
    ensure!(bytes == 0, "a pod without a proxy sent or received {bytes} bytes");
    let destination = recovered(mesh, "b", "closed-client", far)?;
    loads.iter().try_for_each(|load| load.keep_on(50))?;

    for load in loads {
        load.stop();
    }
    let mut records = 0;
    for capture in pods.into_iter().chain([wire]) {
        let captured = capture.finish()?;
        let mut ours = of(&captured, &addresses(&server));
        ours.packets.extend(of(&captured, &addresses(&mesh.pod("closed-near"))).packets);
        records += all_tls(&ours)?;
    }
    ensure!(records > 0, "nothing was captured");
    println!(
        "refused within {slowest:?}; {records} TLS records, 0 plaintext bytes; first connection {source:?} after the \
         start of the source's proxy, {destination:?} after the start of the destination's"
    );
    Ok(())
}

fn hung(mesh: &Mesh) -> Result<()> {
    let servers = [
        mesh.pod("closed-server").serve(8080, backends::echo())?,
        mesh.pod("closed-near").serve(8080, backends::echo())?,
    ];
    let plain = mesh.pod("plain-server").serve(8080, backends::echo())?;
    let (client, near) = (mesh.pod("closed-client"), mesh.pod("closed-near"));
    let far = mesh.service("closed-server").at(80);
    let wire = Capture::start(&mesh.node("a"))?;
    let kept = [far, mesh.service("closed-near").at(80)]
        .map(|target| Steady::start(client.netns(), target, Style::Kept, 2, Duration::from_millis(5)));
    kept.iter().try_for_each(|load| load.keep_on(50))?;

    mesh.proxy("a").pause()?;
    // A connection that begins before the proxy counts as dead waits for it.
    let mut waiting = client.connect(far)?;
    let ways = [
        ("closed-client", far),
        ("closed-client", mesh.pod("plain-server").at(8080)),
        ("plain-client", near.at(8080)),
        ("plain-client", near.at6(8080)),
    ];
    for (from, target) in ways {
        wait::until(&format!("{from} is refused by {target}"), || {
            mesh.pod(from).connect(target).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
        })?;
        refused(mesh, from, target)?;
    }
    ensure!(plain.accepted() == 0, "a connection bypassed the hung proxy");

    mesh.proxy("a").resume()?;
    kept.iter().try_for_each(|load| load.keep_on(50))?;
    ping(&mut waiting).context("the connection that waited")?;
    wait::until_ok("new connections", || request(mesh, "closed-client", far))?;
    for load in kept {
        let met = load.stop();
        met.no_failures()?;
        ensure!(met.connections == 2, "connections had to be reopened: {met:?}");
    }
    drop(waiting);
    let records = all_tls(&of(&wire.finish()?, &addresses(&mesh.pod("closed-server"))))?;
    ensure!(records > 0, "nothing was captured");
    servers.iter().try_for_each(Server::no_failures)?;
    mesh.until_enrolled()
}
