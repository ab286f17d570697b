//! The paths from the client to a server, and connections of one source to several destinations.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends::{Behaviour, Server},
    dial,
    mesh::{Description, Mesh, Pod, PodSpec, mesh},
};

pub(super) const SPLICED: &str = "8500-8599";
pub(super) const OPAQUE: &str = "9000-9099";

pub(super) fn every_path() -> Description {
    let splice = |pod: PodSpec| pod.meshed().annotate("config.weft.dev/splice-ports", SPLICED);
    let mut cluster = mesh("fixed-source")
        .pod("client", |pod| splice(pod.node("a")))
        .pod("plain-client", |pod| pod.node("a").unmeshed())
        .pod("near", |pod| splice(pod.node("a")).annotate("config.linkerd.io/opaque-ports", OPAQUE))
        .pod("far", |pod| pod.node("b").meshed())
        .pod("plain-near", |pod| pod.node("a").unmeshed())
        .pod("plain-far", |pod| pod.node("b").unmeshed());
    for name in ["near", "far", "plain-near", "plain-far"] {
        let ports = [8000..8008, 8500..8508, 9000..9008];
        cluster = cluster.service(name, |service| {
            ports.into_iter().flatten().fold(service, |service, port| service.port(port, port))
        });
    }
    cluster.service("near-again", |service| service.selects("near").port(9003, 9003))
}

/// One way from the client to a server.
pub(super) struct Path {
    pub(super) name: &'static str,
    pub(super) server: &'static str,
    /// The first of three ports.
    pub(super) port: u16,
    pub(super) direct: bool,
}

pub(super) const PATHS: [Path; 6] = [
    Path { name: "to another node", server: "far", port: 8000, direct: false },
    Path { name: "within the node", server: "near", port: 8000, direct: false },
    Path { name: "spliced", server: "near", port: 8500, direct: false },
    Path { name: "direct", server: "near", port: 9000, direct: true },
    Path { name: "not meshed, another node", server: "plain-far", port: 8000, direct: false },
    Path { name: "not meshed, same node", server: "plain-near", port: 8000, direct: false },
];

/// Answers each byte with a name of its own, so that a client can tell which server it has reached.
pub(super) fn answers(name: u16) -> Behaviour {
    Arc::new(move |accepted| {
        let mut stream = &accepted.stream;
        while stream.read(&mut [0; 1])? != 0 {
            stream.write_all(&name.to_be_bytes())?;
        }
        Ok(())
    })
}

pub(super) fn ask(mut stream: &TcpStream) -> io::Result<u16> {
    let mut name = [0; 2];
    stream.write_all(b"?")?;
    // A spliced connection may say EAGAIN without having waited.
    dial::RetryingReader(stream).read_exact(&mut name)?;
    Ok(u16::from_be_bytes(name))
}

/// A source port that no connection of this run has used, and that is not an ephemeral one.
pub(super) fn fresh_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(super) fn serve(mesh: &Mesh, path: &Path) -> Result<Vec<Server>> {
    let pod = mesh.pod(path.server);
    (path.port..path.port + 3).map(|port| pod.serve(port, answers(port))).collect()
}

/// The servers by their pod's addresses.
pub(super) fn by_pod(mesh: &Mesh, path: &Path) -> [Vec<SocketAddr>; 2] {
    let (pod, ports) = (mesh.pod(path.server), path.port..path.port + 3);
    [ports.clone().map(|port| pod.at(port)).collect(), ports.map(|port| pod.at6(port)).collect()]
}

/// The servers by their service's addresses.
pub(super) fn by_service(mesh: &Mesh, path: &Path) -> [Vec<SocketAddr>; 2] {
    let (service, ports) = (mesh.service(path.server), path.port..path.port + 3);
    [ports.clone().map(|port| service.at(port)).collect(), ports.map(|port| service.at6(port)).collect()]
}

/// Makes the next connections to `target` go directly.
pub(super) fn establish_direct_path(mesh: &Mesh, target: SocketAddr) -> Result<()> {
    let proxy = mesh.proxy("a").watch()?;
    ask(&mesh.pod("client").connect(target)?).context("through the proxy")?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", "granted")], 1.0)
}

/// Connects from `own` to every target, keeps all connections, and asks each who it is and whom it sees.
pub(super) fn from_one_source(pod: &Pod, own: SocketAddr, targets: &[SocketAddr]) -> Result<Vec<TcpStream>> {
    let connect = |target: &SocketAddr| {
        dial::prepared(pod.netns(), *target, |socket| {
            socket.set_reuse_address(true)?;
            socket.bind(&own.into())
        })
        .with_context(|| format!("from {own} to {target}"))
    };
    let streams: Vec<TcpStream> = targets.iter().map(connect).collect::<Result<_>>()?;
    for (stream, target) in streams.iter().zip(targets) {
        let (answer, peer, local) = (ask(stream)?, stream.peer_addr()?, stream.local_addr()?);
        ensure!(answer == target.port(), "{target} was dialled, {answer} answered");
        ensure!(peer == *target, "getpeername says {peer}, dialled {target}");
        ensure!(local == own, "getsockname says {local}, bound {own}");
    }
    Ok(streams)
}
