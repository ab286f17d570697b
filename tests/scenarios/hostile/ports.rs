//! Attacks on the proxy's ports and listeners.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockAddr, Socket, Type};
use weft_tests::{
    backends,
    mesh::Mesh,
    suite::Area,
    texts::{error, log},
    wait,
};

use super::{GUARDED, attacker_and_victims, others_are_served, reached_only_as};

pub(super) fn area() -> Area {
    Area::new("hostile_ports", attacker_and_victims)
        .scenario(
            "sharing_the_proxys_ports",
            "Nobody in a pod can listen on the proxy's ports, even with SO_REUSEADDR and SO_REUSEPORT.",
            sharing_the_proxys_ports,
        )
        .scenario(
            "the_proxys_ports_by_hand",
            "A client inside the pod that dials the proxy's ports is reset, counted and logged.",
            the_proxys_ports_by_hand,
        )
        .scenario(
            "the_proxys_ports_from_outside",
            "Other pods cannot reach the proxy's ports in a pod or the node's admin server.",
            the_proxys_ports_from_outside,
        )
        .scenario(
            "destroyed_listeners",
            "A pod that destroys the proxy's listeners in its namespace (sock_diag) harms only itself, until they are \
             created again.",
            destroyed_listeners,
        )
        .alone(
            "taken_ports",
            "A pod that listens on 15001, 15006 and 4191 before the proxy does receives no connections.",
            attacker_and_victims,
            taken_ports,
        )
}

fn sharing_the_proxys_ports(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("mallory");
    for port in [15001, 15006] {
        let addresses: [SocketAddr; 5] = [
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv4Addr::UNSPECIFIED, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
            (Ipv6Addr::UNSPECIFIED, port).into(),
            (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port).into(),
        ];
        for address in addresses {
            let listened = pod.netns().run(|| {
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                socket.set_reuse_address(true)?;
                socket.set_reuse_port(true)?;
                socket.bind(&SockAddr::from(address))?;
                socket.listen(16)
            })?;
            ensure!(listened.is_err(), "another socket listens on {address}");
        }
    }
    Ok(())
}

fn the_proxys_ports_by_hand(mesh: &Mesh) -> Result<()> {
    let (pod, watch) = (mesh.pod("mallory"), mesh.proxy("a").watch()?);
    for port in [15001, 15006] {
        for target in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()] {
            // Any of these may fail with the reset.
            let answer = wait::promptly("the reset", || -> Result<usize> {
                let mut stream = pod.connect(target)?;
                stream.write_all(b"somewhere, please")?;
                Ok(stream.read(&mut [0; 1])?)
            })?;
            ensure!(answer.is_err(), "{target} answered {answer:?}");
        }
    }
    let labels = |error| [("pod", "mallory"), ("error", error)];
    watch.expect("outbound_tcp_errors_total", &labels(error::NO_ORIGINAL_DESTINATION), 2.0)?;
    watch.expect("inbound_tcp_errors_total", &labels(error::NOT_STEERED), 2.0)?;
    let lines = mesh.proxy("a").log();
    lines.expect_line(&["mallory", log::NO_ORIGINAL_DESTINATION])?;
    lines.expect_line(&["mallory", log::PROXYS_OWN_PORT])?;
    Ok(())
}

fn the_proxys_ports_from_outside(mesh: &Mesh) -> Result<()> {
    let mut targets = Vec::new();
    for port in [15001, 15006, 4191] {
        for (guarded, _) in GUARDED {
            targets.extend([mesh.pod(guarded).at(port), mesh.pod(guarded).at6(port)]);
        }
        for node in ["a", "b"] {
            targets.extend(mesh.node_addresses(node)?.map(|ip| SocketAddr::new(ip, port)));
        }
    }
    for (guarded, node) in GUARDED {
        let watch = mesh.proxy(node).watch()?;
        for target in &targets {
            for pod in ["stranger", "mallory"] {
                let answered = wait::promptly("the refusal", || -> Result<String> {
                    let mut stream = mesh.pod(pod).connect(*target)?;
                    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer)?;
                    Ok(answer)
                })?;
                // A meshed client's own proxy says in HTTP that it has reached nobody.
                let reached = answered.as_ref().is_ok_and(|answer| !answer.contains("l5d-proxy-error"));
                ensure!(!reached, "{target} answers {pod}: {answered:?}");
            }
        }
        watch.expect("inbound_tcp_errors_total", &[("pod", guarded), ("error", error::NOT_STEERED)], 0.0)?;
    }
    others_are_served(mesh)
}

fn destroyed_listeners(mesh: &Mesh) -> Result<()> {
    let (mallory, far) = (mesh.pod("mallory"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let own = mallory.serve(mesh.unused_port(), backends::echo())?;
    let watch = mesh.proxy("b").watch()?;
    let say = |from: &str, to: SocketAddr| -> Result<()> {
        let mut stream = mesh.pod(from).connect(to)?;
        stream.write_all(b"?")?;
        Ok(stream.read_exact(&mut [0])?)
    };
    for round in 0..2 {
        mallory.run("ss", &["-K", "-H", "-t", "-l", "( sport = :15001 or sport = :15006 )"])?;
        mesh.proxy("a").log().expect_line(&["mallory", log::LISTENERS_DESTROYED])?;
        others_are_served(mesh)?;
        wait::until_ok(&format!("mallory is served again, round {round}"), || {
            say("mallory", far.at(server.port())).context("outbound")?;
            say("bystander", mallory.at(own.port())).context("inbound")?;
            ensure!(mesh.proxy("a").state_of("mallory")?.0 == "SERVED");
            Ok(())
        })?;
        mesh.mark_logs();
    }
    // mallory fails open: what it says in plaintext between two listeners is refused.
    watch.expect_some("tcp_open_total", &[("pod", "far"), ("client_id", &mallory.identity())])?;
    watch.expect("inbound_tcp_authz_allow_total", &[("pod", "far"), ("tls", "no_identity")], 0.0)
}

fn taken_ports(mesh: &Mesh) -> Result<()> {
    mesh.proxy("a").kill()?;
    let taken: Vec<_> = ["near", "mallory"]
        .iter()
        .flat_map(|name| {
            let any = [(*name, "127.0.0.1:15001"), (*name, "[::1]:15001"), (*name, "0.0.0.0:15006")];
            any.into_iter().chain([(*name, "[::]:4191")])
        })
        .map(|(name, address)| mesh.pod(name).serve_on(address.parse()?, backends::name("mine")))
        .collect::<Result<_>>()?;
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()?;
    for (guarded, node) in GUARDED {
        let pod = mesh.pod(guarded);
        let server = pod.serve(mesh.unused_port(), backends::echo())?;
        let watch = mesh.proxy(node).watch()?;
        for target in [pod.at(server.port()), pod.at6(server.port())] {
            let mut stream = mesh.pod("mallory").connect(target)?;
            stream.write_all(b"?")?;
            stream.read_exact(&mut [0]).with_context(|| format!("{target}"))?;
        }
        reached_only_as(&watch, guarded, &mesh.pod("mallory").identity())?;
    }
    taken.iter().try_for_each(backends::Server::untouched)
}
