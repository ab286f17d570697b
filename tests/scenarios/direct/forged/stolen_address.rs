//! An attacker that takes the victim's address and receives the server's answers.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};
use weft_tests::{
    backends,
    mesh::{Mesh, Pod},
    texts::{log, outcome},
};

use super::{
    super::{establish_direct_path, hook},
    PORT, bind_to, establish_direct_path_to_echo,
    half_open::HalfOpen,
};

const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn stolen_address(mesh: &Mesh) -> Result<()> {
    let (victim, attacker, pod) = (mesh.pod("client"), mesh.pod("plain"), mesh.pod("near"));
    let server = pod.serve(PORT, backends::exchange())?;
    establish_direct_path(mesh, "client", pod.at(PORT))?;
    take_address(&attacker, &victim, &pod)?;
    let accepted = server.accepted();
    let proxy = mesh.proxy("a").watch()?;
    impersonate(&attacker, &victim, pod.at(PORT))?;
    ensure!(server.accepted() == accepted, "the application saw the attacker");
    proxy.expect("weft_capture_total", &hook("sk_lookup", "direct"), 0.0)?;
    proxy.expect("inbound_tcp_authz_deny_total", &[("pod", "near"), ("tls", "no_identity")], 1.0)
}

pub(super) fn while_connecting(mesh: &Mesh) -> Result<()> {
    let (victim, attacker, pod) = (mesh.pod("client"), mesh.pod("plain"), mesh.pod("near"));
    let _server = pod.serve(PORT, backends::echo())?;
    establish_direct_path_to_echo(mesh)?;
    take_address(&attacker, &victim, &pod)?;
    let proxy = mesh.proxy("a").watch()?;
    let victims = HalfOpen::start(&victim, pod.at(PORT))?;
    impersonate(&attacker, &victim, pod.at(PORT))?;
    victims.expect_half_open()?;
    proxy.expect_some("weft_capture_total", &hook("sockops", outcome::DIRECT_FORGED))?;
    proxy.expect("weft_direct_connections_total", &[("side", "destination")], 0.0)?;
    mesh.proxy("a").log().expect_line(&[log::FORGED, "test/near"]).map(drop)
}

/// Gives the attacker the victim's address, and directs the server's answers to the attacker, as forged ARP would.
fn take_address(attacker: &Pod, victim: &Pod, server: &Pod) -> Result<()> {
    let address = format!("{}/32", victim.v4);
    attacker.run("ip", &["addr", "add", &address, "dev", "eth0"])?;
    let link = attacker.run("ip", &["-o", "link", "show", "eth0"])?;
    let (_, rest) = link.split_once("link/ether ").context("no MAC address")?;
    let mac = rest.split_whitespace().next().context("no MAC address")?;
    let victim = victim.v4.to_string();
    server.run("ip", &["neigh", "replace", &victim, "lladdr", mac, "dev", "eth0", "nud", "permanent"])?;
    Ok(())
}

/// Connects from the victim's address and port, and fails if the server answers.
fn impersonate(attacker: &Pod, victim: &Pod, target: SocketAddr) -> Result<()> {
    let answered = attacker.netns().run(|| -> Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        bind_to(victim.v4)(&socket).context("the victim's address")?;
        socket.connect_timeout(&target.into(), TIMEOUT)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(b"let me in")?;
        Ok(stream.read_exact(&mut [0; 9])?)
    })?;
    let Err(error) = answered else { anyhow::bail!("the attacker was answered") };
    let is_bound = !error.to_string().contains("the victim's address");
    ensure!(is_bound, "the attack did not begin: {error:#}");
    Ok(())
}
