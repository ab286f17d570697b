//! Can somebody else use a pass?

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockRef, Socket, Type};
use weft_tests::{
    backends, dial,
    load::Plan,
    mesh::{Mesh, Pod},
    suite::Area,
    wait,
};

use super::{counted, establish_direct_path, hook, on_a_trusted_bridge};

pub(super) fn scenarios(area: Area) -> Area {
    area.scenario(
        "another_pod",
        "While one pod may go directly another one, meshed or not, may not: it takes the proxy, or is refused.",
        another_pod,
    )
    .scenario("another_port", "A pass for one port is none for another.", another_port)
    .alone(
        "a_reused_source_port",
        "A connection from the very port of one that went directly is not let in once policy has changed.",
        on_a_trusted_bridge,
        a_reused_source_port,
    )
    .alone(
        "with_the_victims_address",
        "A pod with NET_ADMIN that takes the victim's address, and to which the server's answers are led astray, is \
         treated as the stranger that it is.",
        on_a_trusted_bridge,
        with_the_victims_address,
    )
    .alone(
        "while_the_victim_connects",
        "The same pod, from the very port from which the victim is just connecting, gets nothing out of the server; \
         it is counted and logged as a forgery.",
        on_a_trusted_bridge,
        while_the_victim_connects,
    )
    .alone(
        "by_raw_packets",
        "Raw packets with the victim's address and port, sent while the victim is connecting, bring nothing to the \
         server, and the victim gets its connection.",
        on_a_trusted_bridge,
        by_raw_packets,
    )
    .alone(
        "a_handshake_held_back",
        "A pod that holds its end of a handshake back until policy has changed does not get in by finishing it.",
        on_a_trusted_bridge,
        a_handshake_held_back,
    )
    .alone(
        "a_syn_held_back",
        "A pod that holds its SYN back until policy has changed, and until the proxy that let it pass is gone, does not \
         get in by it, with a proxy or without.",
        on_a_trusted_bridge,
        a_syn_held_back,
    )
    .alone(
        "more_than_its_share",
        "A pod with 1 024 direct connections half open takes the proxy for further ones; another pod's go directly, \
         and its own again when it has let go.",
        on_a_trusted_bridge,
        more_than_its_share,
    )
}

/// Where the victim connects from.
const SOURCE: u16 = 40_000;

fn another_pod(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("near");
    let server = pod.serve(9010, backends::exchange())?;
    establish_direct_path(mesh, "client", pod.at(9010))?;
    let seen = server.accepted();
    let proxy = mesh.proxy("a").watch()?;
    let refused = Plan::random(1000).run(&mesh.pod("plain").connect(pod.at(9010))?);
    ensure!(refused.is_err(), "a pod without an identity was let in");
    ensure!(server.accepted() == seen, "the application saw it");
    Plan::random(1000).run(&mesh.pod("other").connect(pod.at(9010))?)?;
    counted(&proxy, 0.0, 1.0)?;
    let id = mesh.pod("other").identity();
    proxy.expect("inbound_tcp_authz_allow_total", &[("pod", "near"), ("client_id", &id)], 1.0)?;
    proxy.expect("weft_capture_total", &hook("sk_lookup", "direct"), 0.0)?;
    server.no_failures()
}

fn another_port(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("near");
    let servers = [9011, 9012].map(|port| pod.serve(port, backends::exchange()));
    establish_direct_path(mesh, "client", pod.at(9011))?;
    let proxy = mesh.proxy("a").watch()?;
    Plan::random(1000).run(&mesh.pod("client").connect(pod.at(9012))?)?;
    counted(&proxy, 0.0, 1.0)?;
    servers.into_iter().try_for_each(|server| server?.no_failures())
}

/// Binds to an address that need not be the pod's, and to the victim's port.
fn from(ip: Ipv4Addr) -> impl FnOnce(&Socket) -> std::io::Result<()> + Send {
    move |socket| {
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((ip, SOURCE)).into())
    }
}

fn a_reused_source_port(mesh: &Mesh) -> Result<()> {
    let (client, pod) = (mesh.pod("client"), mesh.pod("near"));
    let server = pod.serve(9000, backends::echo())?;
    let connect = || -> Result<()> {
        let mut stream = dial::prepared(client.netns(), pod.at(9000), from(client.v4))?;
        // Ends by a reset: the port is free at once.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.write_all(b"x")?;
        Ok(stream.read_exact(&mut [0])?)
    };
    connect()?;
    let proxy = mesh.proxy("a").watch()?;
    connect()?;
    connect()?;
    counted(&proxy, 2.0, 0.0)?;
    mesh.change_pod("near", |pod| pod.policy("deny"))?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", "withdrawn_terms")], 1.0)?;
    let seen = server.accepted();
    ensure!(connect().is_err(), "let in by its port");
    ensure!(server.accepted() == seen, "the application saw it");
    Ok(())
}

/// Gives the attacker the victim's address, and leads the server's answers to the victim to it, as a forged ARP
/// answer would.
fn take_address(attacker: &Pod, victim: &Pod, server: &Pod) -> Result<()> {
    let address = format!("{}/32", victim.v4);
    attacker.run("ip", &["addr", "add", &address, "dev", "eth0"])?;
    let link = attacker.run("ip", &["-o", "link", "show", "eth0"])?;
    let words: Vec<&str> = link.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "link/ether").context("no MAC address")?;
    let mac = words.get(at + 1).context("no MAC address")?;
    let victim = victim.v4.to_string();
    server.run("ip", &["neigh", "replace", &victim, "lladdr", mac, "dev", "eth0", "nud", "permanent"])?;
    Ok(())
}

/// Asks for an echo from the victim's address and port.
fn impersonate(attacker: &Pod, victim: &Pod, target: SocketAddr) -> Result<()> {
    let connected = attacker.netns().run(|| -> Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        from(victim.v4)(&socket)?;
        socket.connect_timeout(&target.into(), Duration::from_secs(3))?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        let mut stream = std::net::TcpStream::from(socket);
        stream.write_all(b"let me in")?;
        Ok(stream.read_exact(&mut [0; 9])?)
    })?;
    ensure!(connected.is_err(), "the impostor was answered");
    Ok(())
}

fn with_the_victims_address(mesh: &Mesh) -> Result<()> {
    let (victim, attacker, pod) = (mesh.pod("client"), mesh.pod("plain"), mesh.pod("near"));
    let server = pod.serve(9000, backends::exchange())?;
    establish_direct_path(mesh, "client", pod.at(9000))?;
    take_address(&attacker, &victim, &pod)?;
    let seen = server.accepted();
    let proxy = mesh.proxy("a").watch()?;
    impersonate(&attacker, &victim, pod.at(9000))?;
    ensure!(server.accepted() == seen, "the application saw the impostor");
    proxy.expect("weft_capture_total", &hook("sk_lookup", "direct"), 0.0)?;
    proxy.expect("inbound_tcp_authz_deny_total", &[("pod", "near"), ("tls", "no_identity")], 1.0)
}

/// The next connection of the client to the server at port 9000, which echoes, goes directly.
fn establish_direct_path_by_echo(mesh: &Mesh) -> Result<()> {
    let proxy = mesh.proxy("a").watch()?;
    let mut paved = mesh.pod("client").connect(mesh.pod("near").at(9000))?;
    paved.write_all(b"x")?;
    paved.read_exact(&mut [0])?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", "granted")], 1.0)
}

/// The victim's connection, whose answers do not arrive: half open for as long as it is kept.
fn half_open(victim: &Pod, target: SocketAddr) -> Result<Socket> {
    let socket = victim.netns().run(|| -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        from(victim.v4)(&socket)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
            other => Err(std::io::Error::other(format!("connected at once: {other:?}"))),
        }
    })??;
    ensure!(socket.as_raw_fd() >= 0);
    Ok(socket)
}

fn while_the_victim_connects(mesh: &Mesh) -> Result<()> {
    let (victim, attacker, pod) = (mesh.pod("client"), mesh.pod("plain"), mesh.pod("near"));
    let server = pod.serve(9000, backends::echo())?;
    let mut paved = victim.connect(pod.at(9000))?;
    paved.write_all(b"x")?;
    paved.read_exact(&mut [0])?;
    drop(paved);
    take_address(&attacker, &victim, &pod)?;
    let proxy = mesh.proxy("a").watch()?;
    let victims = half_open(&victim, pod.at(9000))?;
    impersonate(&attacker, &victim, pod.at(9000))?;
    proxy.expect_some("weft_capture_total", &hook("sockops", "direct_forged"))?;
    proxy.expect("weft_direct_connections_total", &[("side", "destination")], 0.0)?;
    mesh.proxy("a").log().expect_line(&["forged", "test/near"])?;
    drop(victims);
    drop(server);
    Ok(())
}

fn by_raw_packets(mesh: &Mesh) -> Result<()> {
    let (victim, attacker, pod) = (mesh.pod("client"), mesh.pod("plain"), mesh.pod("near"));
    let server = pod.serve(9000, backends::echo())?;
    establish_direct_path_by_echo(mesh)?;
    server.no_failures()?;
    let seen = server.accepted();
    let proxy = mesh.proxy("a").watch()?;
    let hole = format!("{}/32", victim.v4);
    pod.run("ip", &["route", "add", "blackhole", &hole])?;
    let socket = half_open(&victim, pod.at(9000))?;
    proxy.expect("weft_capture_total", &hook("connect", "direct"), 1.0)?;
    proxy.expect_some("weft_capture_total", &hook("sk_lookup", "direct"))?;
    let (from, to, source) = (victim.v4.to_string(), pod.v4.to_string(), SOURCE.to_string());
    attacker.run("/usr/bin/python3", &["-c", RAW, &from, &source, &to, "9000"])?;
    ensure!(server.accepted() == seen, "the application saw a forged connection");
    pod.run("ip", &["route", "del", "blackhole", &hole])?;
    // The victim's SYN is sent again.
    wait::until("the victim is connected", || {
        socket.peer_addr().is_ok() && socket.take_error().is_ok_and(|error| error.is_none())
    })?;
    socket.set_nonblocking(false)?;
    let mut stream = dial::with_timeouts(socket.into())?;
    stream.write_all(b"it is me")?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"it is me" && server.accepted() == seen + 1, "{answer:?}");
    proxy.expect("weft_capture_total", &hook("sockops", "direct_accepted"), 1.0)
}

/// Lets no answer of the server's port 9000 come to the client.
fn hold_back(client: &Pod, server: &Pod) -> Result<()> {
    let rules = format!(
        "table ip held {{ chain in {{ type filter hook input priority 0; ip saddr {} tcp sport 9000 drop; }}; }}",
        server.v4
    );
    client.run("nft", &[&rules]).map(drop)
}

fn a_handshake_held_back(mesh: &Mesh) -> Result<()> {
    let (client, pod) = (mesh.pod("client"), mesh.pod("near"));
    let server = pod.serve(9000, backends::echo())?;
    establish_direct_path_by_echo(mesh)?;
    let proxy = mesh.proxy("a").watch()?;
    hold_back(&client, &pod)?;
    let socket = half_open(&client, pod.at(9000))?;
    proxy.expect("weft_capture_total", &hook("sk_lookup", "direct"), 1.0)?;
    let seen = server.accepted();
    mesh.change_pod("near", |pod| pod.policy("deny"))?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", "withdrawn_terms")], 1.0)?;
    client.run("nft", &["delete table ip held"])?;
    refused_at_last(socket)?;
    ensure!(server.accepted() == seen, "the application saw it");
    proxy.expect("weft_direct_connections_total", &[("side", "destination")], 0.0)
}

/// Its SYN is sent again, after 1, 3 and 7 seconds, and comes to the proxy like a stranger's.
fn refused_at_last(socket: Socket) -> Result<()> {
    wait::until_for(Duration::from_secs(10), "the connection has an end", || {
        socket.peer_addr().is_ok() || !socket.take_error().is_ok_and(|error| error.is_none())
    })?;
    socket.set_nonblocking(false)?;
    let mut stream = dial::with_timeouts(socket.into())?;
    let answer = stream.write_all(b"let me in").and_then(|()| stream.read(&mut [0; 9]));
    ensure!(!matches!(answer, Ok(1..)), "it was answered: {answer:?}");
    Ok(())
}

fn a_syn_held_back(mesh: &Mesh) -> Result<()> {
    let (client, pod) = (mesh.pod("client"), mesh.pod("near"));
    let server = pod.serve(9000, backends::echo())?;
    establish_direct_path_by_echo(mesh)?;
    let seen = server.accepted();
    let hold = format!(
        "table ip held {{ chain out {{ type filter hook output priority 0; ip daddr {} tcp dport 9000 drop; }}; }}",
        pod.v4
    );
    client.run("nft", &[&hold])?;
    let proxy = mesh.proxy("a").watch()?;
    let socket = half_open(&client, pod.at(9000))?;
    proxy.expect("weft_capture_total", &hook("connect", "direct"), 1.0)?;
    mesh.proxy("a").kill()?;
    mesh.change_pod("near", |pod| pod.policy("deny"))?;
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()?;
    client.run("nft", &["delete table ip held"])?;
    refused_at_last(socket)?;
    ensure!(server.accepted() == seen, "the application saw it");
    Ok(())
}

fn more_than_its_share(mesh: &Mesh) -> Result<()> {
    let (client, pod) = (mesh.pod("client"), mesh.pod("near"));
    let _server = pod.serve(9000, backends::exchange())?;
    establish_direct_path(mesh, "client", pod.at(9000))?;
    establish_direct_path(mesh, "other", pod.at(9000))?;
    hold_back(&client, &pod)?;
    let proxy = mesh.proxy("a").watch()?;
    let crowd = client.netns().run(|| -> Result<Vec<Socket>> {
        let connect = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            match socket.connect(&pod.at(9000).into()) {
                Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error.into()),
                _ => Ok(socket),
            }
        };
        (0..1034).map(connect).collect()
    })??;
    proxy.expect("weft_capture_total", &hook("connect", "direct"), 1024.0)?;
    proxy.expect("weft_capture_total", &hook("connect", "direct_crowded"), 10.0)?;
    mesh.proxy("a").log().expect_line(&["direct_crowded"])?;
    Plan::random(1000).run(&client.connect(pod.at(9000))?).context("by the proxy")?;
    let proxy = mesh.proxy("a").watch()?;
    Plan::random(1000).run(&mesh.pod("other").connect(pod.at(9000))?).context("another pod")?;
    counted(&proxy, 1.0, 0.0)?;
    drop(crowd);
    client.run("nft", &["delete table ip held"])?;
    let proxy = mesh.proxy("a").watch()?;
    Plan::random(1000).run(&client.connect(pod.at(9000))?).context("directly again")?;
    counted(&proxy, 1.0, 0.0)
}

/// Sends a SYN from somebody else's address, then data with many guesses of the answer's number.
const RAW: &str = r#"
import random, socket, struct, sys
source, sport, target, port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

def total(data):
    data += b"\0" * (len(data) % 2)
    n = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    n = (n >> 16) + (n & 0xffff)
    return ~(n + (n >> 16)) & 0xffff

def send(sequence, acknowledged, flags, data=b""):
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    tcp = struct.pack("!HHIIBBHHH", sport, port, sequence, acknowledged, 5 << 4, flags, 65535, 0, 0)
    check = total(ends + struct.pack("!BBH", 0, 6, len(tcp) + len(data)) + tcp + data)
    tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(data), 1, 0, 64, 6, 0) + ends
    raw.sendto(ip + tcp + data, (target, 0))

for attempt in range(20):
    first = random.randrange(1 << 32)
    send(first, 0, 2)
    for guess in range(200):
        send((first + 1) % (1 << 32), random.randrange(1 << 32), 0x18, b"forged")
"#;
