//! Full eBPF maps: new connections are refused or go through the proxy, open ones go on, it is counted and logged, and
//! everything works again when there is room.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use weft_tests::{
    backends,
    census::Full,
    dial,
    http::{Origin, Wire},
    mesh::{Description, Mesh, Watch, mesh},
    netns::Netns,
    suite::Area,
    texts::{log, map, outcome},
    wait,
};

use crate::http_mesh::{ask, ok};

pub(super) fn area() -> Area {
    Area::new("hostile_full", description)
        .scenario(
            "handshakes",
            "Without room for its original destination, the proxy refuses a connection; open ones go on.",
            handshakes,
        )
        .scenario(
            "listeners",
            "A new listener for which there is no room is not reached, also not in plaintext, until the proxy lists \
             the listeners again; others are reached.",
            listeners,
        )
        .scenario(
            "the_nodes_connections",
            "Without room for the node's own connections, its health checks still reach a guarded pod whose proxy runs.",
            the_nodes_connections,
        )
        .scenario(
            "direct_connections",
            "Without room for a direct connection it is refused as unauthenticated; later ones go directly again.",
            direct_connections,
        )
        .scenario("spliced_connections", "Without room for splicing, a connection goes through the proxy.", spliced_connections)
}

const OPAQUE: u16 = 9000;
const SPLICED: u16 = 8500;
/// A port with a health check.
const CHECKED: u16 = 7000;
/// The proxy lists the listening sockets every 30 s.
const LISTING: Duration = Duration::from_secs(40);

fn description() -> Description {
    mesh("full")
        .pod("client", |pod| pod.node("a").meshed().annotate("config.weft.dev/splice-ports", "8500"))
        .pod("stranger", |pod| pod.node("a").unmeshed())
        .pod("near", |pod| {
            pod.node("a")
                .meshed()
                .policy("all-authenticated")
                .annotate("config.linkerd.io/opaque-ports", "9000")
                .annotate("config.weft.dev/splice-ports", "8500")
        })
        .pod("far", |pod| {
            pod.node("b")
                .meshed()
                .policy("all-authenticated")
                .probe("readinessProbe", &format!("httpGet: {{path: /ready, port: {CHECKED}}}"))
        })
}

fn talk(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"still there?")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"still there?", "{answer:?}");
    Ok(())
}

fn call(from: &Netns, target: SocketAddr) -> Result<TcpStream> {
    let mut stream = dial::from(from, target)?;
    talk(&mut stream)?;
    Ok(stream)
}

fn refused(from: &Netns, target: SocketAddr) -> Result<()> {
    let result = wait::promptly("the refusal", || call(from, target))?;
    ensure!(result.is_err(), "{target} answered");
    Ok(())
}

fn reported(mesh: &Mesh, node: &str, proxy: &Watch, outcome: &str) -> Result<()> {
    proxy.expect_some("weft_capture_total", &[("outcome", outcome)])?;
    mesh.proxy(node).log().expect_line(&[log::KERNEL_LIMIT, outcome]).map(drop)
}

fn handshakes(mesh: &Mesh) -> Result<()> {
    let (client, far) = (mesh.pod("client"), mesh.pod("far"));
    let (server, unreached) =
        (far.serve(mesh.unused_port(), backends::echo())?, far.serve(mesh.unused_port(), backends::echo())?);
    let mut open = call(client.netns(), far.at(server.port()))?;
    let proxy = mesh.proxy("a").watch()?;
    let full = Full::of(mesh, "a", map::HANDSHAKES)?;
    refused(client.netns(), far.at(unreached.port()))?;
    reported(mesh, "a", &proxy, outcome::HANDSHAKES_FULL)?;
    talk(&mut open)?;
    unreached.untouched()?;
    drop(full);
    call(client.netns(), far.at(unreached.port())).map(drop)
}

fn listeners(mesh: &Mesh) -> Result<()> {
    let (client, stranger, far) = (mesh.pod("client"), mesh.pod("stranger"), mesh.pod("far"));
    let older = far.serve(mesh.unused_port(), backends::echo())?;
    call(client.netns(), far.at(older.port()))?;
    let proxy = mesh.proxy("b").watch()?;
    let full = Full::of(mesh, "b", map::LISTENERS)?;
    let newer = far.serve(mesh.unused_port(), backends::echo())?;
    reported(mesh, "b", &proxy, outcome::LISTENERS_FULL)?;
    for from in [client.netns(), stranger.netns()] {
        // The client's proxy keeps trying for longer than this.
        let stream = dial::from(from, far.at(newer.port()));
        let result = stream.map_err(anyhow::Error::from).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_millis(500)))?;
            talk(&mut stream)
        });
        ensure!(result.is_err(), "a listener that the proxy does not know answered");
    }
    newer.untouched()?;
    call(client.netns(), far.at(older.port()))?;
    drop(full);
    wait::until_ok_for(LISTING, "the new listener is reached", || {
        call(client.netns(), far.at(newer.port())).map(drop)
    })?;
    refused(stranger.netns(), far.at(newer.port()))
}

fn the_nodes_connections(mesh: &Mesh) -> Result<()> {
    let (node, far) = (mesh.node("b"), mesh.pod("far"));
    let _origin = Origin::answering(&far, CHECKED, |_| ok("ready"))?;
    let check = || {
        let answer = ask(&mut Wire::new(dial::from(&node, far.at(CHECKED))?), "/ready", "")?;
        ensure!(answer.head.status() == 200, "{answer:?}");
        Ok(())
    };
    check()?;
    let proxy = mesh.proxy("b").watch()?;
    let full = Full::of(mesh, "b", map::HOST_CONNECTIONS)?;
    check()?;
    reported(mesh, "b", &proxy, outcome::HOST_FULL)?;
    drop(full);
    check()
}

fn direct_connections(mesh: &Mesh) -> Result<()> {
    let (client, near) = (mesh.pod("client"), mesh.pod("near"));
    let server = near.serve(OPAQUE, backends::echo())?;
    let proxy = mesh.proxy("a").watch()?;
    call(client.netns(), near.at(OPAQUE))?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", "granted")], 1.0)?;
    let mut open = call(client.netns(), near.at(OPAQUE))?;
    let proxy = mesh.proxy("a").watch()?;
    let full = Full::of(mesh, "a", map::DIRECT_CONNECTIONS)?;
    refused(client.netns(), near.at(OPAQUE))?;
    reported(mesh, "a", &proxy, outcome::FLOWS_FULL)?;
    talk(&mut open)?;
    drop(full);
    let proxy = mesh.proxy("a").watch()?;
    call(client.netns(), near.at(OPAQUE))?;
    proxy.expect("weft_capture_total", &[("hook", "connect"), ("outcome", "direct")], 1.0)?;
    drop(server);
    Ok(())
}

fn spliced_connections(mesh: &Mesh) -> Result<()> {
    let (client, near) = (mesh.pod("client"), mesh.pod("near"));
    let _server = near.serve(SPLICED, backends::echo())?;
    let proxy = mesh.proxy("a").watch()?;
    let full = Full::of(mesh, "a", map::SPLICED_PAIRS)?;
    let mut relayed = call(client.netns(), near.at(SPLICED))?;
    // Where splicing is not available, the map is not used.
    if mesh.proxy("a").metrics()?.value("weft_splice_available", &[]) == 1.0 {
        reported(mesh, "a", &proxy, outcome::SPLICE_FULL)?;
    }
    for _ in 0..100 {
        talk(&mut relayed)?;
    }
    proxy.expect("weft_splice_bytes_total", &[], 0.0)?;
    drop(full);
    talk(&mut relayed)?;
    call(client.netns(), near.at(SPLICED)).map(drop)
}
