//! Attacks with a pod's own packets, addresses, packet rules and BPF programs.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    mesh::{Mesh, Pod},
    suite::Area,
    texts::log,
    wait,
};

use super::{GUARDED, Program, attacker_and_victims, ip, nft, others_are_served, python, reached_only_as};

pub(super) fn area() -> Area {
    Area::new("hostile_network", attacker_and_victims)
        .scenario(
            "own_tcp",
            "TCP over a raw socket bypasses the capture of the attacker's own connections; it is plaintext, which the \
             destination refuses.",
            own_tcp,
        )
        .scenario(
            "forged_source",
            "Packets with the source address of a meshed pod, the node or the pod itself are not accepted.",
            forged_source,
        )
        .scenario(
            "own_rules",
            "Redirects in the attacker's namespace affect only its own connections, and give it no other identity.",
            own_rules,
        )
        .scenario(
            "own_programs",
            "BPF programs that a pod attaches to its namespace and cgroup affect only its own connections.",
            own_programs,
        )
        .alone(
            "a_neighbours_address",
            "A pod that takes a neighbour's address and traffic receives no data of meshed clients and not the \
             neighbour's identity.",
            attacker_and_victims,
            a_neighbours_address,
        )
}

const RAW_TCP: &str = include_str!("raw_tcp.py");
const OWN_PROGRAMS: &str = include_str!("own_programs.py");

/// The kernel does not know these connections and would reset them.
const NO_RESETS: &str = "table inet mallory { chain out { type filter hook output priority 0; \
                         tcp flags & rst == rst tcp sport 20000-29999 drop; }; }\n";

fn raw(from: &Pod, to: SocketAddr, claimed: &str) -> Result<String> {
    python(from, RAW_TCP, &[&from.v4.to_string(), &to.ip().to_string(), &to.port().to_string(), claimed])
}

fn own_tcp(mesh: &Mesh) -> Result<()> {
    let mallory = mesh.pod("mallory");
    nft(&mallory, NO_RESETS)?;
    // As a control: it works with a pod that accepts clients without an identity.
    let open = mesh.pod("bystander").serve(mesh.unused_port(), backends::echo())?;
    let watch = mesh.proxy("a").watch()?;
    let said = raw(&mallory, mesh.pod("bystander").at(open.port()), &mallory.v4.to_string())?;
    ensure!(said == "answered", "{said}");
    let anonymous = [("direction", "inbound"), ("peer", "src"), ("pod", "bystander"), ("tls", "no_identity")];
    watch.expect("tcp_open_total", &anonymous, 1.0)?;
    for (guarded, node) in GUARDED {
        let pod = mesh.pod(guarded);
        let server = pod.serve(mesh.unused_port(), backends::echo())?;
        let watch = mesh.proxy(node).watch()?;
        let said = raw(&mallory, pod.at(server.port()), &mallory.v4.to_string())?;
        ensure!(said == "reset", "{guarded}: {said}");
        server.untouched()?;
        watch.expect("inbound_tcp_authz_deny_total", &[("pod", guarded), ("tls", "no_identity")], 1.0)?;
        mesh.proxy(node).log().expect_line(&[guarded, log::DENIED, &mallory.v4.to_string()])?;
    }
    nft(&mallory, "delete table inet mallory\n")
}

fn forged_source(mesh: &Mesh) -> Result<()> {
    let mallory = mesh.pod("mallory");
    nft(&mallory, NO_RESETS)?;
    for (guarded, node) in GUARDED {
        let pod = mesh.pod(guarded);
        let server = pod.serve(mesh.unused_port(), backends::echo())?;
        // Of an allowed pod, of the node, whose probes are allowed, of the pod itself, and of its loopback.
        let [gateway, _] = mesh.node_addresses(node)?;
        let claims = [
            mesh.pod("bystander").v4.to_string(),
            gateway.to_string(),
            pod.v4.to_string(),
            "127.0.0.1".to_owned(),
        ];
        for claimed in &claims {
            let said = raw(&mallory, pod.at(server.port()), claimed)?;
            ensure!(said != "answered", "{guarded} answered {claimed}");
        }
        server.untouched().context(guarded)?;
    }
    nft(&mallory, "delete table inet mallory\n")?;
    others_are_served(mesh)
}

fn own_rules(mesh: &Mesh) -> Result<()> {
    let mallory = mesh.pod("mallory");
    for (guarded, node) in GUARDED {
        let pod = mesh.pod(guarded);
        let (open, server) = (mesh.pod("bystander"), pod.serve(mesh.unused_port(), backends::echo())?);
        let other = open.serve(server.port(), backends::name("bystander"))?;
        // What the proxy sends to the bystander for the attacker goes to the guarded pod, and the other way round: mTLS
        // succeeds only with the intended peer.
        let port = server.port();
        nft(
            &mallory,
            &format!(
                "table ip mallory {{ chain out {{ type nat hook output priority -150; \
                 ip daddr {b} tcp dport {port} dnat to {g}:{port}; ip daddr {g} tcp dport {port} dnat to {b}:{port}; }}; }}\n",
                b = open.v4,
                g = pod.v4
            ),
        )?;
        let watch = mesh.proxy(node).watch()?;
        for target in [open.at(port), pod.at(port)] {
            let mut answer = [0; 9];
            let result = mallory.connect(target).and_then(|mut stream| {
                stream.write_all(b"bystander")?;
                stream.shutdown(std::net::Shutdown::Write)?;
                stream.read_exact(&mut answer)
            });
            // Either result is right: on the same-node path no packets are sent to which the rules could apply.
            drop(result);
        }
        watch.eventually(|now| {
            let labels = [("direction", "inbound"), ("peer", "src"), ("pod", guarded)];
            for seen in now.label_values("tcp_open_total", &labels, "client_id") {
                ensure!(seen.is_empty() || seen == mallory.identity(), "{guarded} was reached as {seen}");
            }
            Ok(())
        })?;
        drop(other);
        nft(&mallory, "delete table ip mallory\n")?;
        // Redirects from outside to the proxy's listeners.
        nft(
            &mallory,
            "table ip mallory { chain in { type nat hook prerouting priority -150; \
             tcp dport 7777 redirect to :15001; tcp dport 7778 redirect to :15006; }; }\n",
        )?;
        for port in [7777, 7778] {
            let answered = wait::promptly("the refusal", || -> Result<usize> {
                let mut stream = mesh.pod("stranger").connect(mallory.at(port))?;
                stream.write_all(b"let me through")?;
                Ok(stream.read(&mut [0; 1])?)
            })?;
            ensure!(answered.is_err(), "{port}: {answered:?}");
        }
        nft(&mallory, "delete table ip mallory\n")?;
    }
    others_are_served(mesh)
}

fn own_programs(mesh: &Mesh) -> Result<()> {
    let mallory = mesh.pod("mallory");
    let port = mesh.unused_port();
    let program = Program::start(&mallory, OWN_PROGRAMS, &[&port.to_string()], "attached")?;
    // Connections to the attacker itself are taken by its program.
    let mut answer = String::new();
    mesh.pod("stranger").connect(mallory.at(port))?.read_to_string(&mut answer)?;
    ensure!(answer == "mine", "{answer:?}");
    // So are its own connections.
    for (guarded, node) in GUARDED {
        let pod = mesh.pod(guarded);
        let server = pod.serve(mesh.unused_port(), backends::echo())?;
        let watch = mesh.proxy(node).watch()?;
        let said = python(
            &mallory,
            "import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
s.sendall(b'x')
print(s.recv(1))",
            &[&pod.v4.to_string(), &server.port().to_string()],
        )?;
        // The path to the proxy is in its namespace, so its program takes these connections too and they reach nobody.
        ensure!(said == "b'm'", "{said}");
        server.untouched()?;
        watch.expect("inbound_tcp_authz_allow_total", &[("pod", guarded)], 0.0)?;
        // Policies of others still apply.
        let refused = mesh.pod("stranger").connect(pod.at(server.port())).and_then(|mut stream| {
            stream.write_all(b"x")?;
            stream.read_exact(&mut [0])
        });
        ensure!(refused.is_err(), "{guarded} accepted the stranger");
    }
    others_are_served(mesh)?;
    drop(program);
    Ok(())
}

fn a_neighbours_address(mesh: &Mesh) -> Result<()> {
    let victim = mesh.pod("bystander");
    let port = mesh.unused_port();
    let genuine = victim.serve(port, backends::name("genuine"))?;
    // Each thief takes the address, listens on it, and redirects the traffic of both clients to itself.
    for thief in ["mallory", "stranger"] {
        let pod = mesh.pod(thief);
        ip(&pod, &format!("addr add {}/32 dev eth0\n", victim.v4))?;
        let server = pod.serve_on((victim.v4, port).into(), backends::name("thief"))?;
        let mac = pod.netns().run(eth0)??;
        let poison = format!("neigh replace {} lladdr {mac} dev eth0 nud permanent\n", victim.v4);
        for client in ["far", "near"] {
            ip(&mesh.pod(client), &poison)?;
            let mut answer = String::new();
            let result = mesh.pod(client).connect(victim.at(port)).and_then(|mut stream| {
                stream.set_read_timeout(Some(Duration::from_secs(1)))?;
                stream.read_to_string(&mut answer)
            });
            ensure!(result.is_err() || answer == "genuine", "{thief} answered {client}: {answer:?}");
            ensure!(!answer.contains("thief"));
        }
        // From the stolen address, the thief has only its own identity.
        for (guarded, node) in GUARDED {
            let to = mesh.pod(guarded);
            let guard = to.serve(mesh.unused_port(), backends::echo())?;
            let watch = mesh.proxy(node).watch()?;
            let target = to.at(guard.port());
            let from = socket2::SockAddr::from(SocketAddr::from((victim.v4, 0)));
            let talked = pod.netns().run(|| -> Result<()> {
                let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
                socket.bind(&from)?;
                socket.connect_timeout(&target.into(), Duration::from_secs(1))?;
                socket.set_read_timeout(Some(Duration::from_secs(1)))?;
                let mut stream = std::net::TcpStream::from(socket);
                stream.write_all(b"x")?;
                Ok(stream.read_exact(&mut [0])?)
            })?;
            if talked.is_ok() {
                ensure!(thief == "mallory", "{guarded} accepted {thief}");
                reached_only_as(&watch, guarded, &pod.identity())?;
            } else {
                guard.untouched()?;
            }
        }
        // In mallory's namespace weft still takes the address for the bystander's: nothing reaches mallory's server.
        // The stranger's server sees the beginning of a handshake that it cannot answer.
        if thief == "mallory" {
            server.untouched()?;
        }
        for client in ["far", "near"] {
            ip(&mesh.pod(client), &format!("neigh del {} dev eth0\n", victim.v4))?;
        }
        ip(&pod, &format!("addr del {}/32 dev eth0\n", victim.v4))?;
    }
    drop(genuine);
    wait::until_ok("others are served as before", || others_are_served(mesh))
}

/// The link-layer address of the calling thread's eth0.
fn eth0() -> Result<String> {
    let output = std::process::Command::new("ip").args(["-o", "link", "show", "eth0"]).output()?;
    let line = String::from_utf8(output.stdout)?;
    let (_, rest) = line.split_once("link/ether ").context("no MAC")?;
    Ok(rest.split(' ').next().unwrap_or_default().to_owned())
}
