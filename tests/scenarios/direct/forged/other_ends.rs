//! Connections from another pod, to another port, and from a port that was used before.

use std::{
    io::{Read, Write},
    time::Duration,
};

use anyhow::{Result, ensure};
use socket2::SockRef;
use weft_tests::{backends, dial, load::Plan, mesh::Mesh, texts::change};

use super::{
    super::{counted, establish_direct_path, hook},
    PORT, bind_to,
};

pub(super) fn another_pod(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("near");
    let server = pod.serve(9010, backends::exchange())?;
    establish_direct_path(mesh, "client", pod.at(9010))?;
    let accepted = server.accepted();
    let proxy = mesh.proxy("a").watch()?;

    let refused = Plan::random(1000).run(&mesh.pod("plain").connect(pod.at(9010))?);
    ensure!(refused.is_err(), "a pod without an identity was accepted");
    ensure!(server.accepted() == accepted, "the application saw the connection");

    Plan::random(1000).run(&mesh.pod("other").connect(pod.at(9010))?)?;
    counted(&proxy, 0.0, 1.0)?;
    let id = mesh.pod("other").identity();
    proxy.expect("inbound_tcp_authz_allow_total", &[("pod", "near"), ("client_id", &id)], 1.0)?;
    proxy.expect("weft_capture_total", &hook("sk_lookup", "direct"), 0.0)?;
    server.no_failures()
}

pub(super) fn another_port(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("near");
    let servers = [9011, 9012].map(|port| pod.serve(port, backends::exchange()));
    establish_direct_path(mesh, "client", pod.at(9011))?;
    let proxy = mesh.proxy("a").watch()?;
    Plan::random(1000).run(&mesh.pod("client").connect(pod.at(9012))?)?;
    counted(&proxy, 0.0, 1.0)?;
    servers.into_iter().try_for_each(|server| server?.no_failures())
}

pub(super) fn reused_source_port(mesh: &Mesh) -> Result<()> {
    let (client, pod) = (mesh.pod("client"), mesh.pod("near"));
    let server = pod.serve(PORT, backends::echo())?;
    let connect = || -> Result<()> {
        let mut stream = dial::prepared(client.netns(), pod.at(PORT), bind_to(client.v4))?;
        // A reset frees the port at once.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.write_all(b"x")?;
        Ok(stream.read_exact(&mut [0])?)
    };
    connect()?;
    let proxy = mesh.proxy("a").watch()?;
    connect()?;
    connect()?;
    counted(&proxy, 2.0, 0.0)?;

    mesh.change_pod("near", |pod| pod.policy("deny"))?;
    let withdrawn = [("change", change::WITHDRAWN_BY_CONFIG)];
    proxy.expect("weft_direct_pass_changes_total", &withdrawn, 1.0)?;
    let accepted = server.accepted();
    ensure!(connect().is_err(), "the connection was accepted");
    ensure!(server.accepted() == accepted, "the application saw the connection");
    Ok(())
}
