//! Attacks on direct connections: other pods, stolen addresses, forged packets and delayed handshakes.

mod delayed;
mod half_open;
mod other_ends;
mod quota;
mod raw_packets;
mod stolen_address;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::Result;
use socket2::Socket;
use weft_tests::{mesh::Mesh, suite::Area, texts::change};

use super::on_a_trusted_bridge;

pub(super) fn scenarios(area: Area) -> Area {
    area.scenario(
        "another_pod",
        "While one pod may connect directly, another one, meshed or not, goes through the proxy or is refused.",
        other_ends::another_pod,
    )
    .scenario(
        "another_port",
        "Direct pass for one port does not apply to another port.",
        other_ends::another_port,
    )
    .alone(
        "reused_source_port",
        "A connection from the same port as an earlier direct connection is denied after a policy change.",
        on_a_trusted_bridge,
        other_ends::reused_source_port,
    )
    .alone(
        "stolen_address",
        "A pod with NET_ADMIN that takes the victim's address and receives the server's answers to it is treated as an \
         unauthenticated client.",
        on_a_trusted_bridge,
        stolen_address::stolen_address,
    )
    .alone(
        "stolen_address_while_connecting",
        "The same pod, using the port from which the victim is connecting at that moment, gets no answer from the \
         server; it is counted and logged as a forgery.",
        on_a_trusted_bridge,
        stolen_address::while_connecting,
    )
    .alone(
        "forged_packets",
        "Raw packets with the victim's address and port, sent while the victim is connecting, do not reach the \
         server's application, and the victim gets its connection.",
        on_a_trusted_bridge,
        raw_packets::forged_packets,
    )
    .alone(
        "delayed_handshake",
        "A pod that delays its part of a handshake until the policy has changed is not accepted when it finishes it.",
        on_a_trusted_bridge,
        delayed::handshake,
    )
    .alone(
        "delayed_syn",
        "A pod that delays its SYN until the policy has changed, and the proxy that allowed it has been replaced, is \
         not accepted.",
        on_a_trusted_bridge,
        delayed::syn,
    )
    .alone(
        "half_open_quota",
        "A pod with 1 024 half-open direct connections goes through the proxy for further ones; other pods still \
         connect directly, and so does the pod when the connections have ended.",
        on_a_trusted_bridge,
        quota::half_open_quota,
    )
}

/// The port that the victim connects from.
const SOURCE: u16 = 40_000;
/// The server's port in these scenarios.
const PORT: u16 = 9000;

/// Binds a socket to the victim's port of any address.
fn bind_to(ip: Ipv4Addr) -> impl FnOnce(&Socket) -> std::io::Result<()> + Send {
    move |socket| {
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((ip, SOURCE)).into())
    }
}

/// As [`super::establish_direct_path`], for the client and an echo server on [`PORT`].
fn establish_direct_path_to_echo(mesh: &Mesh) -> Result<()> {
    let proxy = mesh.proxy("a").watch()?;
    let mut stream = mesh.pod("client").connect(mesh.pod("near").at(PORT))?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", change::GRANTED)], 1.0)
}
