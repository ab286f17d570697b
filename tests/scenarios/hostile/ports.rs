//! Can the proxy's ports be taken, used by hand, reached from elsewhere, or its listeners be destroyed?

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockAddr, Socket, Type};
use weft_tests::{backends, mesh::Mesh, suite::Area, wait};

use super::{GUARDED, came_only_as, others_are_served, town};

pub(super) fn area() -> Area {
    Area::new("hostile_ports", town)
        .scenario(
            "sharing_the_proxys_ports",
            "Nobody in a pod can listen where the proxy does, SO_REUSEADDR and SO_REUSEPORT or not.",
            sharing_the_proxys_ports,
        )
        .scenario(
            "the_proxys_ports_by_hand",
            "Who dials the proxy's ports from inside the pod is reset; it is counted and logged.",
            the_proxys_ports_by_hand,
        )
        .scenario(
            "the_proxys_ports_from_outside",
            "The ports of pods' proxies and of the node's admin server are not there for other pods.",
            the_proxys_ports_from_outside,
        )
        .scenario(
            "destroyed_listeners",
            "A pod that destroys the proxy's listeners in its namespace (sock_diag) harms only itself, and not for long.",
            destroyed_listeners,
        )
        .alone(
            "taken_ports",
            "A pod that listens on 15001, 15006 and 4191 before the proxy comes gets none of the connections.",
            town,
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
            ensure!(listened.is_err(), "somebody else listens on {address}");
        }
    }
    Ok(())
}

fn the_proxys_ports_by_hand(mesh: &Mesh) -> Result<()> {
    let (pod, watch) = (mesh.pod("mallory"), mesh.proxy("a").watch()?);
    for port in [15001, 15006] {
        for target in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()] {
            // Reset at once: all of these may fail.
            let answer = wait::promptly("the reset", || -> Result<usize> {
                let mut stream = pod.connect(target)?;
                stream.write_all(b"somewhere, please")?;
                Ok(stream.read(&mut [0; 1])?)
            })?;
            ensure!(answer.is_err(), "{target} answered {answer:?}");
        }
    }
    let labels = |error| [("pod", "mallory"), ("error", error)];
    watch.expect("outbound_tcp_errors_total", &labels("no original destination"), 2.0)?;
    watch.expect("inbound_tcp_errors_total", &labels("not steered"), 2.0)?;
    let log = mesh.proxy("a").log();
    log.expect_line(&["mallory", "without an original destination"])?;
    log.expect_line(&["mallory", "proxy's own port"])?;
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
                let answered = wait::promptly("the refusal", || -> Result<usize> {
                    let mut stream = mesh.pod(pod).connect(*target)?;
                    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
                    Ok(stream.read(&mut [0; 1])?)
                })?;
                ensure!(answered.is_err(), "{target} answers {pod}: {answered:?}");
            }
        }
        watch.expect("inbound_tcp_errors_total", &[("pod", guarded), ("error", "not steered")], 0.0)?;
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
        mesh.proxy("a").log().expect_line(&["mallory", "destroyed"])?;
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
        came_only_as(&watch, guarded, &mesh.pod("mallory").identity())?;
    }
    taken.iter().try_for_each(backends::Server::untouched)
}
