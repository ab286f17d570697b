//! What a packet capture between the nodes shows.

use std::{
    io::{Read, Write},
    net::SocketAddr,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    capture::{Capture, tls_records},
    mesh::Mesh,
    suite::Area,
};

use crate::fixture::{serve, two_nodes};

pub(crate) fn area() -> Area {
    Area::new("wire", two_nodes)
        .scenario(
            "no_plaintext_between_nodes",
            "A packet capture between the nodes shows meshed connections only as TLS records and, as a control, the \
             connection of an unmeshed pair in plaintext.",
            no_plaintext_between_nodes,
        )
        .scenario(
            "same_node_stays_off_the_wire",
            "Bytes between two meshed pods of one node never reach the wire.",
            same_node_stays_off_the_wire,
        )
        .scenario(
            "application_port_is_kept",
            "mTLS goes from the client pod's address to the server's own port, so that network policies still apply.",
            application_port_is_kept,
        )
}

const SECRET: &[u8] = b"weft-secret-that-nobody-may-read";

/// Sends the secret from one pod to another and back.
fn talk(mesh: &Mesh, client: &str, target: SocketAddr) -> Result<()> {
    let mut stream = mesh.pod(client).connect(target)?;
    let message = SECRET.repeat(100);
    stream.write_all(&message)?;
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer)?;
    ensure!(answer == message, "the echo differs");
    Ok(())
}

fn no_plaintext_between_nodes(mesh: &Mesh) -> Result<()> {
    let (far, server) = serve(mesh, "far", backends::echo())?;
    let (plain, plain_server) = serve(mesh, "plain-far", backends::echo())?;

    let capture = Capture::start(&mesh.node("a"))?;
    talk(mesh, "client", mesh.service("far").at(server.port()))?;
    talk(mesh, "client", mesh.service("far").at6(server.port()))?;
    talk(mesh, "plain-client", plain.at(plain_server.port()))?;
    let captured = capture.finish()?;

    let control = captured.of(plain.v4.into(), plain_server.port());
    ensure!(control.contains(SECRET), "the capture does not show plaintext");
    let mut records = 0;
    for address in [far.v4.into(), far.v6.into()] {
        let meshed = captured.of(address, server.port());
        ensure!(
            meshed.bytes() > 2 * 100 * SECRET.len(),
            "only {} bytes to {address} were captured",
            meshed.bytes()
        );
        ensure!(!meshed.contains(SECRET), "the secret is readable on the wire");
        for (_, stream) in meshed.streams() {
            let tls = tls_records(&stream).context("the stream contains more than TLS records")?;
            ensure!(!tls.cut, "a record is incomplete");
            records += tls.whole;
        }
    }
    let packets = captured.packets.len();
    println!("{packets} packets with data; {records} TLS records, 0 plaintext bytes on meshed connections");
    Ok(())
}

fn same_node_stays_off_the_wire(mesh: &Mesh) -> Result<()> {
    let (near, server) = serve(mesh, "near", backends::echo())?;
    let capture = Capture::start(&mesh.node("a"))?;
    talk(mesh, "client", mesh.service("near").at(server.port()))?;
    let captured = capture.finish()?.of(near.v4.into(), server.port());
    ensure!(captured.packets.is_empty(), "{} packets were on the wire", captured.packets.len());
    Ok(())
}

fn application_port_is_kept(mesh: &Mesh) -> Result<()> {
    let (far, server) = serve(mesh, "far", backends::echo())?;
    let client = mesh.pod("client");
    let capture = Capture::start(&mesh.node("b"))?;
    talk(mesh, "client", mesh.service("far").at(server.port()))?;
    let captured = capture.finish()?.of(far.v4.into(), server.port());
    let ends: std::collections::BTreeSet<_> =
        captured.packets.iter().flat_map(|packet| [packet.source.0, packet.destination.0]).collect();
    ensure!(ends == [client.v4.into(), far.v4.into()].into(), "packets went between {ends:?}");
    Ok(())
}
