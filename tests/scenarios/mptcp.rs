//! Multipath TCP sockets: what they show their application, and that what they send is encrypted or refused.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd,
    thread,
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use weft_tests::{
    dial,
    mesh::{Description, Mesh, Pod, PodSpec, mesh},
    netns::Netns,
    suite::Area,
};

use crate::direct::hook;

pub(crate) fn area() -> Area {
    Area::new("mptcp", every_path)
        .scenario(
            "addresses",
            "A multipath TCP client sees whom it dialled and its pod's address, a multipath TCP server its real client, \
             on every path and over both families.",
            addresses,
        )
        .scenario(
            "used_again",
            "A multipath TCP socket that is disconnected and connects elsewhere sees the new destination.",
            used_again,
        )
}

const SPLICED: &str = "8500-8599";
const OPAQUE: &str = "9000-9099";

fn every_path() -> Description {
    let splice = |pod: PodSpec| pod.meshed().annotate("config.weft.dev/splice-ports", SPLICED);
    let mut cluster = mesh("mptcp")
        .pod("client", |pod| splice(pod.node("a")))
        .pod("near", |pod| splice(pod.node("a")).annotate("config.linkerd.io/opaque-ports", OPAQUE))
        .pod("far", |pod| pod.node("b").meshed().policy("all-authenticated"))
        .pod("plain-far", |pod| pod.node("b").unmeshed());
    for name in ["near", "far", "plain-far"] {
        let ports = [8000..8002, 8500..8502, 9000..9002];
        cluster = cluster.service(name, |service| {
            ports.into_iter().flatten().fold(service, |service, port| service.port(port, port))
        });
    }
    cluster
}

/// A path: its name, the server, the port, and what `tls` the proxy counts for it; `None`: it goes directly.
const PATHS: [(&str, &str, u16, Option<&str>); 5] = [
    ("to another node", "far", 8000, Some("true")),
    ("within the node", "near", 8000, Some("local")),
    ("opted in to splicing", "near", 8500, Some("local")),
    ("direct", "near", 9000, None),
    ("not meshed", "plain-far", 8000, Some("no_identity")),
];

/// A multipath TCP socket; `None`: this kernel has none.
fn socket(domain: Domain) -> io::Result<Option<Socket>> {
    match Socket::new(domain, Type::STREAM, Some(Protocol::MPTCP)) {
        Ok(socket) => Ok(Some(socket)),
        // Built without it, or net.mptcp.enabled is 0.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPROTONOSUPPORT | libc::ENOPROTOOPT)) => Ok(None),
        Err(e) => Err(e),
    }
}

fn connect(netns: &Netns, target: SocketAddr) -> io::Result<Option<TcpStream>> {
    netns.run(|| {
        let Some(socket) = socket(Domain::for_address(target))? else { return Ok(None) };
        socket.connect_timeout(&SockAddr::from(target), dial::TIMEOUT)?;
        Ok(Some(dial::with_timeouts(socket.into())?))
    })?
}

/// A multipath TCP server of both families. It tells each client what accept(), getpeername() and getsockname() say,
/// and then sends back what it gets.
fn serve(pod: &Pod, port: u16) -> Result<Option<thread::JoinHandle<()>>> {
    let listener = pod.netns().run(|| -> io::Result<Option<Socket>> {
        let Some(socket) = socket(Domain::IPV6)? else { return Ok(None) };
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))))?;
        socket.listen(64)?;
        // Until nobody has come for so long.
        socket.set_read_timeout(Some(std::time::Duration::from_secs(15)))?;
        Ok(Some(socket))
    })??;
    Ok(listener.map(|listener| {
        thread::spawn(move || {
            while let Ok((stream, from)) = listener.accept() {
                let stream = TcpStream::from(stream);
                let Some(from) = from.as_socket() else { continue };
                thread::spawn(move || {
                    // An error shows at the client.
                    let _ = tell(&stream, from);
                });
            }
        })
    }))
}

fn tell(mut stream: &TcpStream, from: SocketAddr) -> io::Result<()> {
    let seen = format!("{from} {} {}\n", stream.peer_addr()?, stream.local_addr()?);
    let mut asked = [0; 1];
    while stream.read(&mut asked)? != 0 {
        stream.write_all(seen.as_bytes())?;
    }
    Ok(())
}

fn ask(mut stream: &TcpStream) -> Result<Vec<SocketAddr>> {
    stream.write_all(b"?")?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0; 1];
        ensure!(dial::RetryingReader(stream).read(&mut byte)? == 1, "closed in the middle of {line:?}");
        line.push(byte[0]);
    }
    let line = String::from_utf8(line)?;
    line.split_whitespace().map(|addr| addr.parse().with_context(|| line.clone())).collect()
}

fn is_multipath(stream: &TcpStream) -> Result<bool> {
    Ok(SockRef::from(stream).protocol()? == Some(Protocol::MPTCP))
}

fn addresses(mesh: &Mesh) -> Result<()> {
    let client = mesh.pod("client");
    let mut servers = Vec::new();
    for (name, server, port, tls) in PATHS {
        let (pod, service) = (mesh.pod(server), mesh.service(server));
        let Some(running) = serve(&pod, port)? else {
            println!("mptcp: this kernel has none, nothing was tried");
            return Ok(());
        };
        servers.push(running);
        for target in [service.at(port), service.at6(port), pod.at(port), pod.at6(port)] {
            let path = || format!("{name}, {target}");
            if tls.is_none() {
                let proxy = mesh.proxy("a").watch()?;
                ask(&client.connect(target)?).with_context(path)?;
                proxy.expect("weft_direct_pass_changes_total", &[("change", "granted")], 1.0)?;
            }
            let proxy = mesh.proxy("a").watch()?;
            let stream = connect(client.netns(), target)?.context("a multipath socket")?;
            ensure!(is_multipath(&stream)?, "not a multipath socket");
            let own = if target.is_ipv4() { IpAddr::from(client.v4) } else { client.v6.into() };
            for moment in ["at once", "in use"] {
                let (peer, local) = (stream.peer_addr()?, stream.local_addr()?.ip());
                ensure!(peer == target, "{}: {moment} getpeername is {peer}", path());
                ensure!(local == own, "{}: {moment} getsockname is {local}, own is {own}", path());
                let seen = ask(&stream).with_context(path)?;
                let [accepted, peer, local] = seen[..] else { anyhow::bail!("the server saw {seen:?}") };
                ensure!(accepted.ip().to_canonical() == own, "{}: accept() says {accepted}", path());
                ensure!(peer.ip().to_canonical() == own, "{}: the server's getpeername is {peer}", path());
                ensure!(local.port() == port, "{}: the server's getsockname is {local}", path());
            }
            match tls {
                Some(tls) => proxy.expect(
                    "tcp_open_total",
                    &[("direction", "outbound"), ("peer", "dst"), ("pod", "client"), ("tls", tls)],
                    1.0,
                ),
                None => proxy.expect("weft_capture_total", &hook("connect", "direct"), 1.0),
            }
            .with_context(path)?;
        }
    }
    Ok(())
}

fn used_again(mesh: &Mesh) -> Result<()> {
    let client = mesh.pod("client");
    let (far, near) = (mesh.pod("far"), mesh.pod("near"));
    let (Some(_one), Some(_other)) = (serve(&far, 8001)?, serve(&near, 8001)?) else {
        println!("mptcp: this kernel has none, nothing was tried");
        return Ok(());
    };
    let own = client.serve(8002, weft_tests::backends::echo())?;
    let stream = connect(client.netns(), far.at(8001))?.context("a multipath socket")?;
    ask(&stream)?;
    disconnect(&stream)?;
    let socket = SockRef::from(&stream);
    socket.connect(&near.at(8001).into())?;
    ensure!(stream.peer_addr()? == near.at(8001), "redirected twice: {}", stream.peer_addr()?);
    ask(&stream)?;
    disconnect(&stream)?;
    // Not redirected: nothing of before may show.
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], own.port())).into())?;
    let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
    ensure!(peer.ip().is_loopback() && peer.port() == own.port(), "after loopback: {peer}");
    ensure!(local.ip().is_loopback(), "after loopback: {local}");
    Ok(())
}

fn disconnect(stream: &TcpStream) -> io::Result<()> {
    let none = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    // SAFETY: the kernel reads one sockaddr.
    let result =
        unsafe { libc::connect(stream.as_raw_fd(), &raw const none, size_of::<libc::sockaddr>() as u32) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
