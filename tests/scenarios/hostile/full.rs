//! What if the kernel side has no room left at all? New connections are refused or take the longer way, old ones go
//! on, it is said, and it is over when there is room again.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use weft_tests::{
    backends, dial,
    holdings::Full,
    mesh::{Description, Mesh, Watch, mesh},
    netns::Netns,
    suite::Area,
    wait,
};

pub(super) fn area() -> Area {
    Area::new("hostile_full", cramped)
        .scenario(
            "handshakes",
            "Without room for the original destination the proxy refuses a connection; open ones go on.",
            handshakes,
        )
        .scenario(
            "listeners",
            "A server that begins to listen without room for it is not reached, least of all in plaintext, until the next \
             listing; others are.",
            listeners,
        )
        .scenario(
            "the_nodes_connections",
            "Without room for the node's own connections, a probe is a stranger to a pod that admits none.",
            the_nodes_connections,
        )
        .scenario(
            "direct_connections",
            "Without room for a direct connection it is a stranger's; the next one goes directly again.",
            direct_connections,
        )
        .scenario("spliced_connections", "Without room to splice a connection it is relayed.", spliced_connections)
}

const OPAQUE: u16 = 9000;
const SPLICED: u16 = 8500;
/// The proxy looks every 30 s which sockets listen.
const LISTING: Duration = Duration::from_secs(40);

fn cramped() -> Description {
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
        .pod("far", |pod| pod.node("b").meshed().policy("all-authenticated"))
}

/// Something is said and comes back.
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
    let told = wait::promptly("the refusal", || call(from, target))?;
    ensure!(told.is_err(), "{target} answered");
    Ok(())
}

fn said(mesh: &Mesh, node: &str, proxy: &Watch, outcome: &str) -> Result<()> {
    proxy.expect_some("weft_capture_total", &[("outcome", outcome)])?;
    mesh.proxy(node).log().expect_line(&["bound of the kernel side", outcome]).map(drop)
}

fn handshakes(mesh: &Mesh) -> Result<()> {
    let (client, far) = (mesh.pod("client"), mesh.pod("far"));
    let (server, unheard) =
        (far.serve(mesh.unused_port(), backends::echo())?, far.serve(mesh.unused_port(), backends::echo())?);
    let mut open = call(client.netns(), far.at(server.port()))?;
    let proxy = mesh.proxy("a").watch()?;
    let full = Full::of(mesh, "a", "ORIGINAL_DST_BY_TUPLE")?;
    refused(client.netns(), far.at(unheard.port()))?;
    said(mesh, "a", &proxy, "map_full_rendezvous")?;
    talk(&mut open)?;
    unheard.untouched()?;
    drop(full);
    call(client.netns(), far.at(unheard.port())).map(drop)
}

fn listeners(mesh: &Mesh) -> Result<()> {
    let (client, stranger, far) = (mesh.pod("client"), mesh.pod("stranger"), mesh.pod("far"));
    let older = far.serve(mesh.unused_port(), backends::echo())?;
    call(client.netns(), far.at(older.port()))?;
    let proxy = mesh.proxy("b").watch()?;
    let full = Full::of(mesh, "b", "LISTENERS_BY_ADDR")?;
    let newer = far.serve(mesh.unused_port(), backends::echo())?;
    said(mesh, "b", &proxy, "map_full_listeners")?;
    for from in [client.netns(), stranger.netns()] {
        // The client's proxy goes on trying for longer than anybody here would like to wait.
        let stream = dial::from(from, far.at(newer.port()));
        let told = stream.map_err(anyhow::Error::from).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_millis(500)))?;
            talk(&mut stream)
        });
        ensure!(told.is_err(), "who listens without the proxy's knowledge answered");
    }
    newer.untouched()?;
    call(client.netns(), far.at(older.port()))?;
    drop(full);
    wait::until_ok_for(LISTING, "the newer one is reached", || {
        call(client.netns(), far.at(newer.port())).map(drop)
    })?;
    refused(stranger.netns(), far.at(newer.port()))
}

fn the_nodes_connections(mesh: &Mesh) -> Result<()> {
    let (node, far) = (mesh.node("b"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    call(&node, far.at(server.port()))?;
    let proxy = mesh.proxy("b").watch()?;
    let full = Full::of(mesh, "b", "HOST_CONNECTIONS")?;
    refused(&node, far.at(server.port()))?;
    said(mesh, "b", &proxy, "map_full_host")?;
    drop(full);
    call(&node, far.at(server.port())).map(drop)
}

fn direct_connections(mesh: &Mesh) -> Result<()> {
    let (client, near) = (mesh.pod("client"), mesh.pod("near"));
    let server = near.serve(OPAQUE, backends::echo())?;
    let proxy = mesh.proxy("a").watch()?;
    call(client.netns(), near.at(OPAQUE))?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", "granted")], 1.0)?;
    let mut open = call(client.netns(), near.at(OPAQUE))?;
    let proxy = mesh.proxy("a").watch()?;
    let full = Full::of(mesh, "a", "DIRECT_BY_TUPLE")?;
    refused(client.netns(), near.at(OPAQUE))?;
    said(mesh, "a", &proxy, "map_full_flows")?;
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
    let full = Full::of(mesh, "a", "PAIR_BY_COOKIE")?;
    let mut relayed = call(client.netns(), near.at(SPLICED))?;
    // A kernel on which nothing is spliced has nothing to run out of.
    if mesh.proxy("a").metrics()?.value("weft_splice_available", &[]) == 1.0 {
        said(mesh, "a", &proxy, "map_full_splice")?;
    }
    for _ in 0..100 {
        talk(&mut relayed)?;
    }
    proxy.expect("weft_splice_bytes_total", &[], 0.0)?;
    drop(full);
    talk(&mut relayed)?;
    call(client.netns(), near.at(SPLICED)).map(drop)
}
