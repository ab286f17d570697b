//! Connections of one source address and port to several destinations, and pods with few ephemeral ports: what works
//! without a mesh works through it, on every path.

use std::{
    collections::HashSet,
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::{SockRef, Socket};
use weft_tests::{
    backends::Server,
    dial,
    mesh::{Mesh, Pod},
    suite::Area,
    wait,
};

use self::paths::{
    PATHS, answers, ask, by_pod, by_service, establish_direct_path, every_path, fresh_port, from_one_source,
    serve,
};
use crate::direct::hook;

mod paths;

pub(crate) fn area() -> Area {
    Area::new("fixed_source", every_path)
        .scenario(
            "several_destinations",
            "An application that binds one source address and port holds connections to several destinations at once, \
             on every path and over both families, as it does without a mesh.",
            several_destinations,
        )
        .alone(
            "few_ephemeral_ports",
            "A pod with 100 ephemeral ports holds 180 connections to three destinations, on every path, as it does \
             without a mesh.",
            every_path,
            few_ephemeral_ports,
        )
        .scenario(
            "services_of_one_backend",
            "One source address and port reaches two services whose connections go directly to the same backend.",
            services_of_one_backend,
        )
        .scenario(
            "own_listeners_are_kept",
            "An application may listen on the very address and port that a connection is redirected to. It gets its \
             own connections there and none of the redirected ones.",
            own_listeners_are_kept,
        )
        .scenario(
            "redirect_targets_by_hand",
            "Nobody reaches anything by dialling the addresses that connections are redirected to, from the pod or \
             from outside.",
            redirect_targets_by_hand,
        )
        .alone(
            "after_a_restart",
            "After a takeover and after a crash of the proxy, one source address and port still reaches several \
             destinations.",
            every_path,
            after_a_restart,
        )
}

fn several_destinations(mesh: &Mesh) -> Result<()> {
    let client = mesh.pod("client");
    for path in &PATHS {
        let servers = serve(mesh, path)?;
        for targets in by_pod(mesh, path).into_iter().chain(by_service(mesh, path)) {
            if path.direct {
                targets.iter().try_for_each(|target| establish_direct_path(mesh, *target))?;
            }
            let own = |port| match targets[0] {
                SocketAddr::V4(_) => client.at(port),
                SocketAddr::V6(_) => client.at6(port),
            };
            let proxy = mesh.proxy("a").watch()?;
            let streams = from_one_source(&client, own(fresh_port()), &targets).context(path.name)?;
            let directly = if path.direct { 3.0 } else { 0.0 };
            proxy.expect("weft_capture_total", &hook("connect", "direct"), directly).context(path.name)?;
            // Some kernels cannot splice: the proxy carries the bytes there.
            if path.name == "spliced" && mesh.proxy("a").metrics()?.value("weft_splice_available", &[]) == 1.0
            {
                proxy.expect("weft_splice_connections_total", &[], 3.0)?;
            }
            drop(streams);
        }
        servers.iter().try_for_each(Server::no_failures)?;
    }
    Ok(())
}

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const PER_TARGET: usize = 60;

fn few_ephemeral_ports(mesh: &Mesh) -> Result<()> {
    for name in ["client", "plain-client"] {
        mesh.pod(name).netns().run(|| fs::write(RANGE, "42000 42099"))??;
    }
    // What is expected of the mesh, without it.
    let plain = &PATHS[4];
    let servers = serve(mesh, plain)?;
    for targets in by_pod(mesh, plain) {
        hold_all(&mesh.pod("plain-client"), &targets, false).context("without a mesh")?;
        hold_all(&mesh.pod("plain-client"), &targets, true).context("without a mesh, bound")?;
    }
    drop(servers);
    for path in &PATHS {
        let servers = serve(mesh, path)?;
        for targets in by_pod(mesh, path) {
            if path.direct {
                targets.iter().try_for_each(|target| establish_direct_path(mesh, *target))?;
            }
            hold_all(&mesh.pod("client"), &targets, false).context(path.name)?;
        }
        drop(servers);
    }
    let _servers = serve(mesh, &PATHS[1])?;
    for targets in by_service(mesh, &PATHS[1]) {
        hold_all(&mesh.pod("client"), &targets, true).context("bound")?;
    }
    Ok(())
}

/// Opens 60 connections to each target, in turn, keeps all of them, and has each answered.
fn hold_all(pod: &Pod, targets: &[SocketAddr], bound: bool) -> Result<()> {
    let mut streams = Vec::new();
    for round in 0..PER_TARGET {
        for target in targets {
            let own = match target {
                SocketAddr::V4(_) => pod.at(0),
                SocketAddr::V6(_) => pod.at6(0),
            };
            let stream = dial::prepared(pod.netns(), *target, |socket| {
                if bound { bind_without_port(socket, own) } else { Ok(()) }
            });
            streams.push((stream.with_context(|| format!("connection {round} to {target}"))?, target));
        }
    }
    for (stream, target) in &streams {
        ensure!(ask(stream)? == target.port(), "{target} was dialled, another one answered");
    }
    // Closed by a reset, none of the ports has to rest in TIME_WAIT.
    streams.iter().try_for_each(|(stream, _)| SockRef::from(stream).set_linger(Some(Duration::ZERO)))?;
    Ok(())
}

/// Chooses the address now and the port when it connects.
fn bind_without_port(socket: &Socket, own: SocketAddr) -> io::Result<()> {
    let on = 1_i32;
    // SAFETY: the kernel reads four bytes.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            4,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    socket.bind(&own.into())
}

fn services_of_one_backend(mesh: &Mesh) -> Result<()> {
    let (client, near) = (mesh.pod("client"), mesh.pod("near"));
    let server = near.serve(9003, answers(9003))?;
    let (one, other) = (mesh.service("near"), mesh.service("near-again"));
    for (targets, own) in [
        ([one.at(9003), other.at(9003), near.at(9003)], client.at(fresh_port())),
        ([one.at6(9003), other.at6(9003), near.at6(9003)], client.at6(fresh_port())),
    ] {
        targets.iter().try_for_each(|target| establish_direct_path(mesh, *target))?;
        let proxy = mesh.proxy("a").watch()?;
        drop(from_one_source(&client, own, &targets)?);
        // The backend's end of the first is that of the others: only one of them may have it.
        proxy.expect("weft_capture_total", &hook("connect", "direct"), 1.0)?;
        proxy.expect("weft_capture_total", &hook("connect", "redirected"), 2.0)?;
    }
    server.no_failures()
}

/// Where the kernel has `stream`, whose names are hidden: its own end and the other.
fn true_ends(pod: &Pod, stream: &TcpStream) -> Result<(SocketAddr, SocketAddr)> {
    let port = stream.local_addr()?.port();
    let tables = pod.netns().run(|| {
        let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        Ok::<_, io::Error>(read("tcp")? + &read("tcp6")?)
    })??;
    let ends = tables.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (end(fields.next()?)?, end(fields.next()?)?);
        (local.port() == port && fields.next()? == "01").then_some((local, remote))
    });
    ends.into_iter().next().context("the connection is not in /proc/net/tcp")
}

/// An end as /proc/net/tcp and tcp6 write it: words in the machine's order.
fn end(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|i| u32::from_str_radix(&ip[i * 8..i * 8 + 8], 16).map(u32::to_ne_bytes))
        .collect::<Result<_, _>>()
        .ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    match words.concat()[..] {
        [a, b, c, d] => Some((Ipv4Addr::new(a, b, c, d), port).into()),
        ref bytes => Some((Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?), port).into()),
    }
}

fn own_listeners_are_kept(mesh: &Mesh) -> Result<()> {
    let client = mesh.pod("client");
    let far = mesh.pod("far").serve(8004, answers(8004))?;
    for destination in [mesh.service("far").at(8004), mesh.service("far").at6(8004)] {
        let first = client.connect(destination)?;
        let (_, target) = true_ends(&client, &first)?;
        ensure!(target != destination, "{destination} was not redirected");
        let own = listen_on(&client, target).with_context(|| format!("listening on {target}"))?;
        let elsewhere = "127.1.2.3:15001".parse()?;
        let other = client.serve_on(elsewhere, answers(1))?;
        // From the source that the redirected connections have, too.
        for round in 0..20 {
            let redirected = client.connect(destination)?;
            ensure!(true_ends(&client, &redirected)?.1 == target, "round {round}: not to {target}");
            ensure!(ask(&redirected)? == 8004, "the application's own listener answered");
            ensure!(ask(&client.connect(target)?)? == 2, "{target} is taken away");
            ensure!(ask(&client.connect(elsewhere)?)? == 1, "{elsewhere} is taken away");
        }
        ensure!(own.accepted() == 20, "the listener on {target} got {} connections", own.accepted());
        ensure!(ask(&first)? == 8004);
        other.no_failures()?;
        own.no_failures()?;
    }
    // The same port on all addresses of the pod.
    let first = client.connect(mesh.service("far").at(8004))?;
    let (_, target) = true_ends(&client, &first)?;
    let own = client.serve(target.port(), answers(3))?;
    ensure!(ask(&client.connect(mesh.service("far").at(8004))?)? == 8004);
    ensure!(ask(&client.connect(target)?)? == 3 && ask(&client.connect(client.at(target.port()))?)? == 3);
    own.no_failures()?;
    drop(first);
    far.no_failures()
}

/// Serves one address, which need not be on any interface.
fn listen_on(pod: &Pod, address: SocketAddr) -> Result<Server> {
    let nonlocal = "/proc/sys/net/ipv6/ip_nonlocal_bind";
    pod.netns().run(|| fs::write(nonlocal, "1"))??;
    let server = pod.serve_on(address, answers(2));
    pod.netns().run(|| fs::write(nonlocal, "0"))??;
    server
}

fn redirect_targets_by_hand(mesh: &Mesh) -> Result<()> {
    let client = mesh.pod("client");
    let far = mesh.pod("far").serve(8005, answers(8005))?;
    let mut seen = HashSet::new();
    for destination in [mesh.service("far").at(8005), mesh.service("far").at6(8005)] {
        let stream = client.connect(destination)?;
        let (_, target) = true_ends(&client, &stream)?;
        seen.insert(target);
        let refused = wait::promptly("the refusal", || client.connect(target))?;
        ensure!(refused.is_err(), "{target} answers the pod");
    }
    ensure!(seen.len() == 2);
    // An application that listens on all addresses must not be reached by them past the proxy.
    let own = client.serve(8006, answers(8006))?;
    for target in seen {
        let SocketAddr::V6(v6) = target else { continue };
        let (near, prefix) = (mesh.pod("plain-near"), format!("{}/128", v6.ip()));
        let (node, gateway) = (mesh.node("a"), client.v6.to_string());
        let route = |arguments: &[&str]| -> Result<()> {
            let done = node.run(|| std::process::Command::new("ip").args(arguments).status())??;
            ensure!(done.success(), "ip {arguments:?}: {done}");
            Ok(())
        };
        route(&["-6", "route", "add", &prefix, "via", &gateway])?;
        let target = SocketAddr::new((*v6.ip()).into(), 8006);
        let refused = wait::promptly("the refusal", || near.connect(target));
        route(&["-6", "route", "del", &prefix])?;
        ensure!(refused?.is_err(), "{target} answers from outside the pod");
    }
    own.untouched()?;
    far.no_failures()
}

fn after_a_restart(mesh: &Mesh) -> Result<()> {
    let (client, path) = (mesh.pod("client"), &PATHS[0]);
    let servers = serve(mesh, path)?;
    let both = |moment: &str| -> Result<Vec<TcpStream>> {
        let mut streams = Vec::new();
        for targets in by_pod(mesh, path) {
            let port = fresh_port();
            let own = if targets[0].is_ipv4() { client.at(port) } else { client.at6(port) };
            streams.extend(from_one_source(&client, own, &targets).context(moment.to_owned())?);
        }
        Ok(streams)
    };
    let before = both("at first")?;
    let pid = mesh.proxy("a").pid()?;
    mesh.proxy("a").take_over()?;
    wait::until("another process serves", || mesh.proxy("a").pid().is_ok_and(|now| now != pid))?;
    mesh.until_enrolled()?;
    let after = both("after a takeover")?;
    for stream in before.iter().chain(&after) {
        ask(stream).context("a connection of before")?;
    }
    drop((before, after));
    mesh.proxy("a").kill()?;
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()?;
    drop(both("after a crash")?);
    servers.iter().try_for_each(|server| {
        ensure!(server.accepted() >= 6, "{} accepted only {}", server.port(), server.accepted());
        Ok(())
    })
}
