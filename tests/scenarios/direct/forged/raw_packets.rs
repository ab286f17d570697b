//! Forged packets of an attacker that sees no answers.

use std::io::{Read, Write};

use anyhow::{Result, ensure};
use weft_tests::{backends, mesh::Mesh, texts::outcome};

use super::{super::hook, PORT, SOURCE, establish_direct_path_to_echo, half_open::HalfOpen};

/// What the script prints: how many data segments it has sent.
const SENT: &str = "4000";

pub(super) fn forged_packets(mesh: &Mesh) -> Result<()> {
    let (victim, attacker, pod) = (mesh.pod("client"), mesh.pod("plain"), mesh.pod("near"));
    let server = pod.serve(PORT, backends::echo())?;
    establish_direct_path_to_echo(mesh)?;
    server.no_failures()?;
    let accepted = server.accepted();
    let proxy = mesh.proxy("a").watch()?;

    // The server's answers to the victim are dropped, so that the victim's handshake does not finish.
    let victims_address = format!("{}/32", victim.v4);
    pod.run("ip", &["route", "add", "blackhole", &victims_address])?;
    let victims = HalfOpen::start(&victim, pod.at(PORT))?;
    proxy.expect("weft_capture_total", &hook("connect", "direct"), 1.0)?;
    proxy.expect_some("weft_capture_total", &hook("sk_lookup", "direct"))?;
    let (from, to) = (victim.v4.to_string(), pod.v4.to_string());
    let (source, port) = (SOURCE.to_string(), PORT.to_string());
    let script = include_str!("raw_packets.py");
    let sent = attacker.run("/usr/bin/python3", &["-c", script, &from, &source, &to, &port])?;
    ensure!(sent.trim() == SENT, "the attacker sent {sent}");
    victims.expect_half_open()?;
    ensure!(server.accepted() == accepted, "the application saw a forged connection");

    pod.run("ip", &["route", "del", "blackhole", &victims_address])?;
    let mut stream = victims.connected()?;
    stream.write_all(b"it is me")?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"it is me", "the answer is {answer:?}");
    ensure!(server.accepted() == accepted + 1, "the application accepted {}", server.accepted());
    proxy.expect("weft_capture_total", &hook("sockops", outcome::DIRECT_ACCEPTED), 1.0)
}
