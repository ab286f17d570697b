//! Attacks with sockets: none may bypass the proxy or have another identity.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use weft_tests::{
    backends,
    mesh::Mesh,
    suite::Area,
    texts::{error, log, outcome},
    wait,
};

use super::{GUARDED, attacker_and_victims, ip, python, reached_only_as};

pub(super) fn area() -> Area {
    Area::new("hostile_sockets", attacker_and_victims)
        .scenario(
            "socket_options",
            "No mark, device or priority of a socket (SO_MARK, SO_BINDTODEVICE, SO_PRIORITY) takes it past the proxy.",
            socket_options,
        )
        .scenario(
            "foreign_source_address",
            "A socket that is bound to another pod's address (IP_FREEBIND, IP_TRANSPARENT) has the identity of its own \
             namespace, or does not connect.",
            foreign_source_address,
        )
        .scenario(
            "a_socket_given_away",
            "A socket that is used from another pod's namespace keeps the identity of the namespace in which it was \
             created.",
            a_socket_given_away,
        )
        .scenario(
            "a_socket_used_again",
            "A socket that was captured, disconnected (AF_UNSPEC) and connected to the proxy's port is refused.",
            a_socket_used_again,
        )
        .scenario(
            "unusual_ways_to_connect",
            "Fast open (sendto and by option) and MPTCP are captured like connect().",
            unusual_ways_to_connect,
        )
        .scenario(
            "unusual_addresses",
            "Mapped, compatible, 6to4, unspecified and link-local addresses do not bypass the proxy.",
            unusual_addresses,
        )
}

const MESSAGE: &[u8] = b"who am I?";

fn talk(stream: TcpStream) -> Result<()> {
    talk_for(wait::PROMPTLY, stream)
}

fn talk_for(limit: Duration, mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(MESSAGE)?;
    let mut answer = [0; MESSAGE.len()];
    stream.read_exact(&mut answer)?;
    ensure!(answer == MESSAGE, "{answer:?}");
    Ok(())
}

type Prepare = fn(&Socket) -> std::io::Result<()>;

fn socket_options(mesh: &Mesh) -> Result<()> {
    let mallory = mesh.pod("mallory");
    let options: [(&str, Prepare); 7] = [
        ("mark 1", |socket| socket.set_mark(1)),
        ("mark 1337", |socket| socket.set_mark(1337)),
        ("all marks", |socket| socket.set_mark(u32::MAX)),
        ("device eth0", |socket| socket.bind_device(Some(b"eth0"))),
        ("device lo, then none", |socket| {
            socket.bind_device(Some(b"lo"))?;
            socket.bind_device(None)
        }),
        ("out of band", |socket| socket.set_out_of_band_inline(true)),
        ("no linger", |socket| socket.set_linger(Some(Duration::ZERO))),
    ];
    for (guarded, node) in GUARDED {
        let pod = mesh.pod(guarded);
        let server = pod.serve(mesh.unused_port(), backends::echo())?;
        let watch = mesh.proxy(node).watch()?;
        for (name, prepare) in options {
            for target in [pod.at(server.port()), pod.at6(server.port())] {
                let stream = weft_tests::dial::prepared(mallory.netns(), target, prepare)?;
                talk(stream).with_context(|| format!("{name}, {target}"))?;
            }
        }
        reached_only_as(&watch, guarded, &mallory.identity())?;
        watch.expect("inbound_tcp_authz_deny_total", &[("pod", guarded)], 0.0)?;
    }
    Ok(())
}

fn foreign_source_address(mesh: &Mesh) -> Result<()> {
    let mallory = mesh.pod("mallory");
    let victim = mesh.pod("bystander").v4;
    let from_victim = |target: SocketAddr, transparent: bool| {
        mallory.netns().run(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            if transparent { socket.set_ip_transparent_v4(true) } else { socket.set_freebind_v4(true) }?;
            socket.bind(&SockAddr::from(SocketAddr::from((victim, 0))))?;
            socket.connect_timeout(&SockAddr::from(target), Duration::from_secs(1))?;
            Ok::<TcpStream, std::io::Error>(socket.into())
        })
    };
    // First the answers go to the victim, then the attacker routes them to itself.
    for routed in [false, true] {
        if routed {
            ip(&mallory, &format!("route add local {victim}/32 dev lo\n"))?;
        }
        for (guarded, node) in GUARDED {
            let pod = mesh.pod(guarded);
            let server = pod.serve(mesh.unused_port(), backends::echo())?;
            let watch = mesh.proxy(node).watch()?;
            let mut is_answered = false;
            for transparent in [false, true] {
                if let Ok(stream) = from_victim(pod.at(server.port()), transparent)? {
                    is_answered |= talk(stream).is_ok();
                }
            }
            if is_answered {
                reached_only_as(&watch, guarded, &mallory.identity())?;
            } else {
                server.untouched()?;
            }
        }
    }
    ip(&mallory, &format!("route del local {victim}/32 dev lo\n"))
}

fn a_socket_given_away(mesh: &Mesh) -> Result<()> {
    let (mallory, bystander) = (mesh.pod("mallory"), mesh.pod("bystander"));
    for (guarded, node) in GUARDED {
        let pod = mesh.pod(guarded);
        let server = pod.serve(mesh.unused_port(), backends::echo())?;
        let watch = mesh.proxy(node).watch()?;
        let target = SockAddr::from(pod.at(server.port()));
        // Created in mallory's namespace, connected from the bystander's.
        let socket = mallory.netns().run(|| Socket::new(Domain::IPV4, Type::STREAM, None))??;
        bystander.netns().run(|| socket.connect_timeout(&target, wait::PROMPTLY))??;
        talk(socket.into())?;
        reached_only_as(&watch, guarded, &mallory.identity())?;
        // A socket of an unmeshed pod has no identity, whoever uses it.
        let socket = mesh.pod("stranger").netns().run(|| Socket::new(Domain::IPV4, Type::STREAM, None))??;
        bystander.netns().run(|| socket.connect_timeout(&target, wait::PROMPTLY))??;
        ensure!(talk(socket.into()).is_err(), "{guarded} accepted a stranger");
        watch.expect_some("inbound_tcp_authz_deny_total", &[("pod", guarded)])?;
    }
    Ok(())
}

fn a_socket_used_again(mesh: &Mesh) -> Result<()> {
    let mallory = mesh.pod("mallory");
    let pod = mesh.pod("far");
    let server = pod.serve(mesh.unused_port(), backends::echo())?;
    let watch = mesh.proxy("a").watch()?;
    let said = python(
        &mallory,
        "import ctypes, socket, struct, sys
to, port = sys.argv[1], int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
s = socket.socket()
s.settimeout(5)
s.connect((to, port))
assert s.getpeername() == (to, port), s.getpeername()
# An answer shows that the proxy has read the original destination: only the second connection is without one.
s.sendall(b'first')
assert s.recv(5, socket.MSG_WAITALL) == b'first'
nobody = struct.pack('=H14x', socket.AF_UNSPEC)
assert libc.connect(s.fileno(), nobody, len(nobody)) == 0
try:
    s.connect(('127.0.0.1', 15001))
    s.sendall(b'to where I went before, please')
    print('answered', s.recv(100))
except (ConnectionResetError, BrokenPipeError):
    print('reset')",
        &[&pod.v4.to_string(), &server.port().to_string()],
    )?;
    ensure!(said == "reset", "{said}");
    watch.expect("outbound_tcp_errors_total", &[("error", error::NO_ORIGINAL_DESTINATION)], 1.0)?;
    mesh.proxy("a").log().expect_line(&["mallory", log::NO_ORIGINAL_DESTINATION])?;
    Ok(())
}

fn unusual_ways_to_connect(mesh: &Mesh) -> Result<()> {
    let mallory = mesh.pod("mallory");
    for (guarded, node) in GUARDED {
        let pod = mesh.pod(guarded);
        let server = pod.serve(mesh.unused_port(), backends::echo())?;
        let watch = mesh.proxy(node).watch()?;
        let said = python(
            &mallory,
            "import socket, sys
to, port = sys.argv[1], int(sys.argv[2])
def talk(s, said=b''):
    s.settimeout(5)
    s.sendall(b'odd'[len(said):])
    assert s.recv(3, socket.MSG_WAITALL) == b'odd'
s = socket.socket()
talk(s, b'odd'[:s.sendto(b'odd', 0x20000000, (to, port))])
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, 30, 1)
s.connect((to, port))
talk(s)
try:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
except OSError:
    pass
else:
    s.connect((to, port))
    talk(s)
print('done')",
            &[&pod.v4.to_string(), &server.port().to_string()],
        )?;
        ensure!(said == "done", "{said}");
        reached_only_as(&watch, guarded, &mallory.identity())?;
        watch.expect("inbound_tcp_authz_deny_total", &[("pod", guarded)], 0.0)?;
    }
    Ok(())
}

fn unusual_addresses(mesh: &Mesh) -> Result<()> {
    let mallory = mesh.pod("mallory");
    for (guarded, node) in GUARDED {
        let pod = mesh.pod(guarded);
        let server = pod.serve(mesh.unused_port(), backends::echo())?;
        let watch = mesh.proxy(node).watch()?;
        let [a, b, c, d] = pod.v4.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        let local = pod.netns().run(link_local)??;
        let odd: [IpAddr; 6] = [
            pod.v4.to_ipv6_mapped().into(),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low).into(),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into(),
            Ipv6Addr::UNSPECIFIED.into(),
            "0.0.0.0".parse()?,
        ];
        let scope = mallory.netns().run(|| nix::net::if_::if_nametoindex("eth0"))??;
        let mut targets: Vec<SocketAddr> = odd.map(|ip| SocketAddr::new(ip, server.port())).to_vec();
        targets.push(SocketAddrV6::new(local, server.port(), 0, scope).into());
        for target in targets {
            let stream = mallory.netns().run(|| {
                let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
                socket.connect_timeout(&SockAddr::from(target), Duration::from_secs(1))?;
                Ok::<TcpStream, std::io::Error>(socket.into())
            })?;
            let mapped = target.ip() == IpAddr::from(pod.v4.to_ipv6_mapped());
            // The proxy keeps trying for longer than this.
            let limit = if mapped { wait::PROMPTLY } else { Duration::from_millis(500) };
            let answered = stream.map_err(anyhow::Error::from).and_then(|stream| talk_for(limit, stream));
            ensure!(answered.is_ok() == mapped, "{target}: {answered:?}");
        }
        reached_only_as(&watch, guarded, &mallory.identity())?;
    }
    mesh.proxy("b")
        .metrics()?
        .expect_some("weft_capture_total", &[("hook", "sk_lookup"), ("outcome", outcome::UNKNOWN_ADDRESS)])
}

/// The link-local address of eth0.
fn link_local() -> Result<Ipv6Addr> {
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6")?;
    let line = table.lines().find(|line| line.starts_with("fe80") && line.ends_with("eth0"));
    let bits = u128::from_str_radix(&line.context("no link-local address")?[..32], 16)?;
    Ok(bits.into())
}
