//! Which connections go directly, and their metrics, which are those of proxied connections.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockRef, Socket, Type};
use weft_tests::{
    backends, dial,
    load::Plan,
    mesh::{Mesh, Watch},
    suite::Area,
    texts::{change, log, outcome},
    wait,
};

use super::{counted, establish_direct_path, hook, one_node};

pub(super) fn scenarios(area: Area) -> Area {
    area.scenario(
        "after_the_first_connection",
        "After a first connection through the proxy, the next ones to that address go directly, by pod address and by \
         service, over both families; every byte arrives and is in every metric of the proxy.",
        after_the_first_connection,
    )
    .scenario(
        "half_close_and_reset",
        "Half-closes and resets of direct connections arrive, and are counted, as such.",
        half_close_and_reset,
    )
    .scenario(
        "seen_by_applications",
        "Over a direct connection the client sees the address that it dialled, also with a v4-mapped socket, and the \
         server the real client.",
        seen_by_applications,
    )
    .scenario(
        "when_it_does_not_apply",
        "Connections to ports that are not opaque, to servers on another node and to pods that disable direct pass go \
         through the proxy.",
        when_it_does_not_apply,
    )
    .alone(
        "on_a_bridge",
        "Where pods share a bridge, on which they could intercept each other's packets, all connections go through the \
         proxy by default.",
        || one_node().bridged(),
        on_a_bridge,
    )
    .scenario(
        "server_sends_first",
        "A port whose application sends first counts as opaque until the application stops listening.",
        server_sends_first,
    )
    .scenario(
        "nobody_listens",
        "When the application has ended, the proxy refuses the connection.",
        nobody_listens,
    )
}

fn after_the_first_connection(mesh: &Mesh) -> Result<()> {
    let (pod, service) = (mesh.pod("near"), mesh.service("near"));
    let server = pod.serve(9000, backends::exchange())?;
    for target in [pod.at(9000), pod.at6(9000), service.at(9000), service.at6(9000)] {
        establish_direct_path(mesh, "client", target).with_context(|| target.to_string())?;
        let proxy = mesh.proxy("a").watch()?;
        let plan = Plan::new(300_001, 70_003);
        plan.run(&mesh.pod("client").connect(target)?).with_context(|| format!("directly to {target}"))?;
        metrics_are_complete(mesh, &proxy, plan).with_context(|| target.to_string())?;
    }
    server.no_failures()
}

/// Checks that one connection went directly and that its metrics are those of a proxied one.
fn metrics_are_complete(mesh: &Mesh, proxy: &Watch, plan: Plan) -> Result<()> {
    counted(proxy, 1.0, 0.0)?;
    let (client, near) = (mesh.pod("client").identity(), mesh.pod("near").identity());
    let (up, down) = ((plan.up.1 + Plan::HEADER as u64) as f64, plan.down.1 as f64);
    proxy.eventually(|now| {
        now.expect("weft_capture_total", &hook("sk_lookup", "direct"), 1.0)?;
        now.expect("weft_capture_total", &hook("sk_lookup", "redirected"), 0.0)?;
        now.expect("weft_capture_total", &hook("sockops", outcome::DIRECT_ACCEPTED), 1.0)?;
        let local = [("pod", "near"), ("tls", "local"), ("client_id", client.as_str())];
        now.expect("inbound_tcp_authz_allow_total", &local, 1.0)?;
        for (direction, peer, labels) in [
            ("outbound", "src", vec![("pod", "client"), ("tls", "no_identity")]),
            (
                "outbound",
                "dst",
                vec![("pod", "client"), ("tls", "local"), ("server_id", &near), ("dst_pod", "near")],
            ),
            ("inbound", "src", local.to_vec()),
            ("inbound", "dst", vec![("pod", "near"), ("tls", "no_identity")]),
        ] {
            let labels = [&[("direction", direction), ("peer", peer)], &labels[..]].concat();
            let (read, written) = if peer == "src" { (up, down) } else { (down, up) };
            now.expect("tcp_open_total", &labels, 1.0)?;
            now.expect("tcp_close_total", &[&labels[..], &[("errno", "")]].concat(), 1.0)?;
            now.expect("tcp_open_connections", &labels, 0.0)?;
            now.expect("tcp_read_bytes_total", &labels, read)?;
            now.expect("tcp_write_bytes_total", &labels, written)?;
        }
        for (direction, pod) in [("outbound", "client"), ("inbound", "near")] {
            now.expect_some("weft_tcp_rtt_seconds_count", &[("direction", direction), ("pod", pod)])?;
        }
        Ok(())
    })
}

fn half_close_and_reset(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("near").serve(9001, backends::echo())?;
    let target = mesh.service("near").at(9001);
    let proxy = mesh.proxy("a").watch()?;
    half_close(mesh.pod("client").connect(target)?)?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", change::GRANTED)], 1.0)?;

    let proxy = mesh.proxy("a").watch()?;
    half_close(mesh.pod("client").connect(target)?)?;
    counted(&proxy, 1.0, 0.0)?;
    server.no_failures()?;

    let proxy = mesh.proxy("a").watch()?;
    let mut stream = mesh.pod("client").connect(target)?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])?;
    SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))?;
    drop(stream);
    for (direction, pod) in [("outbound", "client"), ("inbound", "near")] {
        let labels = [("direction", direction), ("pod", pod), ("errno", "ECONNRESET")];
        proxy.expect("tcp_close_total", &labels, 2.0)?;
    }
    // The proxy and the server see the reset in any order.
    wait::until("the server sees the reset, once", || server.failures().len() == 1)
}

fn half_close(mut stream: TcpStream) -> Result<()> {
    stream.write_all(b"half")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer == b"half", "{answer:?}");
    Ok(())
}

fn seen_by_applications(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("near");
    let server = pod.serve(9002, backends::addresses())?;
    let service = mesh.service("near");
    for target in [service.at(9002), service.at6(9002), pod.at(9002)] {
        seen(mesh, target, false)?;
        let proxy = mesh.proxy("a").watch()?;
        seen(mesh, target, false).with_context(|| target.to_string())?;
        counted(&proxy, 1.0, 0.0)?;
    }
    let proxy = mesh.proxy("a").watch()?;
    for target in [service.at(9002), pod.at(9002)] {
        seen(mesh, target, true).with_context(|| format!("{target}, v4-mapped"))?;
    }
    counted(&proxy, 2.0, 0.0)?;
    server.no_failures()
}

fn seen(mesh: &Mesh, target: SocketAddr, mapped: bool) -> Result<()> {
    let client = mesh.pod("client");
    let mut stream = if mapped {
        let SocketAddr::V4(v4) = target else { anyhow::bail!("not an IPv4 address") };
        let target = SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()));
        let stream: TcpStream = client.netns().run(|| {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
            socket.connect(&target.into())?;
            Ok::<_, std::io::Error>(socket.into())
        })??;
        ensure!(stream.peer_addr()? == target, "the client sees {}", stream.peer_addr()?);
        dial::with_timeouts(stream)?
    } else {
        let stream = client.connect(target)?;
        ensure!(stream.peer_addr()? == target, "the client sees {}", stream.peer_addr()?);
        stream
    };
    let own = stream.local_addr()?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let canonical = |address: &str| -> Result<SocketAddr> {
        let address: SocketAddr = address.parse()?;
        Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
    };
    let ip = if target.is_ipv4() { client.v4.into() } else { client.v6.into() };
    for line in answer.lines().take(2) {
        let peer = canonical(line)?;
        ensure!(peer == SocketAddr::new(ip, own.port()), "the server sees {peer}, the client is {own}");
    }
    Ok(())
}

fn when_it_does_not_apply(mesh: &Mesh) -> Result<()> {
    let ports = [("near", 8000), ("far", 9003), ("disabled", 9003)];
    let servers = ports.map(|(pod, port)| mesh.pod(pod).serve(port, backends::exchange()));
    let proxy = mesh.proxy("a").watch()?;
    for (pod, port) in ports {
        for _ in 0..3 {
            Plan::random(1000).run(&mesh.pod("client").connect(mesh.pod(pod).at(port))?)?;
        }
    }
    counted(&proxy, 0.0, 9.0)?;
    servers.into_iter().try_for_each(|server| server?.no_failures())
}

fn on_a_bridge(mesh: &Mesh) -> Result<()> {
    mesh.proxy("a").log().expect_line(&[&["test/near"], log::DIRECT_PASS_UNTRUSTED_LINK].concat())?;
    let greeter = mesh.pod("near").serve(8001, backends::banner("220 hello\r\n"))?;
    let server = mesh.pod("near").serve(9000, backends::exchange())?;
    let proxy = mesh.proxy("a").watch()?;
    for _ in 0..3 {
        read_greeting(mesh, mesh.pod("near").at(8001))?;
        Plan::random(1000).run(&mesh.pod("client").connect(mesh.pod("near").at(9000))?)?;
    }
    counted(&proxy, 0.0, 6.0)?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", change::GRANTED)], 0.0)?;
    greeter.no_failures()?;
    server.no_failures()
}

fn server_sends_first(mesh: &Mesh) -> Result<()> {
    let target = mesh.pod("near").at(8001);
    let server = mesh.pod("near").serve(8001, backends::banner("220 hello\r\n"))?;
    let proxy = mesh.proxy("a").watch()?;
    read_greeting(mesh, target)?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", change::GRANTED)], 1.0)?;
    read_greeting(mesh, target)?;
    counted(&proxy, 1.0, 1.0)?;
    server.no_failures()?;
    drop(server);

    // Another application, which waits for the client to send first.
    let server = loop {
        match mesh.pod("near").serve(8001, backends::exchange()) {
            Ok(server) => break server,
            Err(error) => ensure!(error.to_string().contains("serving"), "{error:#}"),
        }
    };
    let proxy = mesh.proxy("a").watch()?;
    for _ in 0..2 {
        Plan::random(1000).run(&mesh.pod("client").connect(target)?)?;
    }
    counted(&proxy, 0.0, 2.0)?;
    server.no_failures()
}

fn read_greeting(mesh: &Mesh, target: SocketAddr) -> Result<()> {
    let mut stream = mesh.pod("client").connect(target)?;
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting)?;
    ensure!(&greeting == b"220 hello\r\n");
    stream.shutdown(Shutdown::Write)?;
    ensure!(stream.read(&mut [0])? == 0, "more bytes than the greeting");
    Ok(())
}

fn nobody_listens(mesh: &Mesh) -> Result<()> {
    let target = mesh.pod("near").at(9004);
    let server = mesh.pod("near").serve_on((Ipv4Addr::UNSPECIFIED, 9004).into(), backends::exchange())?;
    establish_direct_path(mesh, "client", target)?;
    drop(server);
    let proxy = mesh.proxy("a").watch()?;
    // The proxy accepts the connection before it knows; its reset may arrive at any time.
    let answer = mesh.pod("client").connect(target).and_then(|mut stream| stream.read(&mut [0; 1]));
    let refused = answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    ensure!(refused, "not refused: {answer:?}");
    counted(&proxy, 0.0, 1.0)
}
