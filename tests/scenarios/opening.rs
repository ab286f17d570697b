//! Ways to open a connection: each reaches the destination that the application dialled.

use std::{
    io::{self, Read},
    net::{SocketAddr, SocketAddrV6},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rand::Rng;
use socket2::{Domain, SockAddr, Socket, Type};
use std::os::fd::AsFd;
use weft_tests::{
    backends::{self, Server},
    dial,
    load::Plan,
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

use crate::fixture::{each_place, serve, two_nodes};

pub(crate) fn area() -> Area {
    Area::new("opening", two_nodes)
        .alone(
            "original_destination_at_two_thousand_a_second",
            "Of 25 000 connections to 96 addresses and ports, made as fast as possible, every one reaches the \
             address and port that it dialled.",
            many_services,
            original_destination,
        )
        .within(Duration::from_secs(150))
        .scenario("ipv4", "An IPv4 client reaches a service's IPv4 address through the mesh.", ipv4)
        .scenario("ipv6", "An IPv6 client reaches a service's IPv6 address through the mesh.", ipv6)
        .scenario(
            "v4_mapped",
            "An AF_INET6 socket that dials ::ffff:a.b.c.d reaches the IPv4 service through the mesh.",
            v4_mapped,
        )
        .scenario(
            "dual_stack_names",
            "A client that resolves a service's name gets both families, and both work.",
            dual_stack_names,
        )
        .scenario(
            "non_blocking",
            "A non-blocking connect becomes writable without an error and carries its bytes.",
            non_blocking,
        )
        .scenario(
            "bound_to_the_pods_address",
            "A client that binds its pod's address before it connects is served as well.",
            bound_to_the_pods_address,
        )
        .scenario(
            "no_host",
            "A connection to an address without a host ends with an error instead of hanging.",
            no_host,
        )
        .scenario("pod_address", "A meshed pod dialled by its own address is reached by mTLS too.", pod_address)
}

/// A pod on each node that listens on 48 ports, behind 6 services with 8 ports each.
fn many_services() -> Description {
    let mut cluster = mesh("many-services").pod("client", |pod| pod.node("a").meshed());
    for (place, node) in [("near", "a"), ("far", "b")] {
        cluster = cluster.pod(place, |pod| pod.node(node).meshed());
        for service in 0..SERVICES {
            cluster = cluster.service(&format!("{place}-{service}"), |spec| {
                (0..PORTS)
                    .fold(spec.selects(place), |spec, port| spec.port(1000 + port, target(service, port)))
            });
        }
    }
    cluster
}

const SERVICES: u16 = 6;
const PORTS: u16 = 8;

fn target(service: u16, port: u16) -> u16 {
    9000 + service * PORTS + port
}

fn original_destination(mesh: &Mesh) -> Result<()> {
    // Without TLS the rate is limited by little but the kernel; with it, by the handshakes.
    for (place, connections) in [("near", 20_000), ("far", 5_000)] {
        let mut destinations = Vec::new();
        let mut servers: Vec<Server> = Vec::new();
        for service in 0..SERVICES {
            let addresses = mesh.service(&format!("{place}-{service}"));
            for port in 0..PORTS {
                let name = target(service, port).to_string();
                servers.push(mesh.pod(place).serve(target(service, port), backends::name(name.clone()))?);
                destinations.push((addresses.at(1000 + port), name.clone()));
                destinations.push((addresses.at6(1000 + port), name));
            }
        }
        let begun = Instant::now();
        connect_to_all(mesh, &destinations, connections).context(place)?;
        let rate = connections as f64 / begun.elapsed().as_secs_f64();
        print!("{place}: {rate:.0} connections/s  ");
        servers.iter().try_for_each(Server::no_failures)?;
    }
    Ok(())
}

/// Makes connections to random destinations and checks that each reaches the dialled one.
fn connect_to_all(mesh: &Mesh, destinations: &[(SocketAddr, String)], connections: usize) -> Result<()> {
    let (netns, next) = (mesh.pod("client").netns().clone(), AtomicUsize::new(0));
    thread::scope(|scope| {
        let work = || -> Result<()> {
            netns.run(|| {
                let mut random = rand::rng();
                while next.fetch_add(1, Ordering::Relaxed) < connections {
                    let (address, name) = &destinations[random.random_range(0..destinations.len())];
                    let mut answer = String::new();
                    let mut stream = dial::here(*address)?;
                    stream.read_to_string(&mut answer).with_context(|| address.to_string())?;
                    ensure!(&answer == name, "dialled {address} (target {name}), reached {answer:?}");
                }
                Ok(())
            })?
        };
        let workers: Vec<_> = (0..32).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}

/// Connects, exchanges checked bytes, and checks that the proxy has counted the connection.
fn reaches(mesh: &Mesh, place: &str, target: impl Fn(u16) -> SocketAddr) -> Result<()> {
    let (_, server) = serve(mesh, place, backends::exchange())?;
    let source = mesh.proxy("a").watch()?;
    let stream = mesh.pod("client").connect(target(server.port()))?;
    Plan::random(100_000).run(&stream)?;
    server.no_failures()?;
    let tls = if place == "near" { "local" } else { "true" };
    let labels =
        [("direction", "outbound"), ("peer", "dst"), ("pod", "client"), ("tls", tls), ("dst_pod", place)];
    source.expect("tcp_open_total", &labels, 1.0)
}

fn ipv4(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| reaches(mesh, place, |port| mesh.service(place).at(port)))
}

fn ipv6(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| reaches(mesh, place, |port| mesh.service(place).at6(port)))
}

fn v4_mapped(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        reaches(mesh, place, |port| {
            let v4 = mesh.service(place).v4;
            SocketAddrV6::new(v4.to_ipv6_mapped(), port, 0, 0).into()
        })
    })
}

fn pod_address(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| reaches(mesh, place, |port| mesh.pod(place).at(port)))?;
    each_place(mesh, |place| reaches(mesh, place, |port| mesh.pod(place).at6(port)))
}

fn no_host(mesh: &Mesh) -> Result<()> {
    let proxy = mesh.proxy("a").watch()?;
    for target in [SocketAddr::from(([10, 244, 2, 250], 80)), "[fd00:10:244:2::fffe]:80".parse()?] {
        // The proxy gives up a little after its limit for one attempt.
        let ended = wait::promptly("the end", || -> io::Result<usize> {
            mesh.pod("client").connect(target)?.read(&mut [0; 1])
        })?;
        ensure!(ended.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::WouldBlock), "{target}: {ended:?}");
    }
    proxy.expect("outbound_tcp_errors_total", &[("pod", "client")], 2.0)
}

fn dual_stack_names(mesh: &Mesh) -> Result<()> {
    let (_, server) = serve(mesh, "far", backends::name("far"))?;
    let script = format!(
        "import socket\n\
         families = set()\n\
         for family, kind, _, _, address in socket.getaddrinfo('far.test', {}, type=socket.SOCK_STREAM):\n\
         \x20   with socket.socket(family, kind) as s:\n\
         \x20       s.connect(address)\n\
         \x20       assert s.makefile().read() == 'far', address\n\
         \x20       families.add(family.name)\n\
         print(*sorted(families))",
        server.port()
    );
    let families = mesh.pod("client").run("/usr/bin/python3", &["-c", &script])?;
    ensure!(families.trim() == "AF_INET AF_INET6", "reached by {families:?}");
    server.no_failures()
}

fn non_blocking(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (_, server) = serve(mesh, place, backends::exchange())?;
        let target = mesh.service(place).at(server.port());
        let socket = mesh.pod("client").netns().run(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            match socket.connect(&SockAddr::from(target)) {
                Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
                Ok(()) => Ok(socket),
                Err(e) => Err(e),
            }
        })??;
        let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        let ready =
            wait::promptly("becoming writable", || poll(&mut waiting, PollTimeout::from(10_000_u16)))??;
        ensure!(ready == 1, "never writable");
        let error = socket.take_error()?;
        ensure!(error.is_none(), "SO_ERROR is {error:?}");
        socket.set_nonblocking(false)?;
        Plan::random(100_000).run(&dial::with_timeouts(socket.into())?)?;
        server.no_failures()
    })
}

fn bound_to_the_pods_address(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (_, server) = serve(mesh, place, backends::exchange())?;
        let client = mesh.pod("client");
        let own = SocketAddr::from((client.v4, 0));
        let target = mesh.service(place).at(server.port());
        let stream = dial::prepared(client.netns(), target, |socket| socket.bind(&own.into()))?;
        Plan::random(100_000).run(&stream)?;
        server.no_failures()
    })
}
