//! Peers outside the mesh: they are reached and accepted as without a mesh, and distinguished in metrics.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use weft_tests::{backends, load::Plan, mesh::Mesh, suite::Area};

use crate::fixture::{serve, two_nodes};

pub(crate) fn area() -> Area {
    Area::new("boundary", two_nodes)
        .scenario(
            "unmeshed_to_meshed",
            "An unmeshed client reaches a meshed pod that accepts everybody, and is counted without an identity.",
            unmeshed_to_meshed,
        )
        .scenario(
            "meshed_to_unmeshed",
            "A meshed client reaches an unmeshed pod in plaintext, and the reason is counted.",
            meshed_to_unmeshed,
        )
        .scenario(
            "unmeshed_to_unmeshed",
            "Two unmeshed pods connect directly, and no proxy sees it.",
            unmeshed_to_unmeshed,
        )
        .scenario(
            "external",
            "A meshed client reaches an address outside the cluster with its bytes unchanged.",
            external,
        )
}

fn unmeshed_to_meshed(mesh: &Mesh) -> Result<()> {
    for (place, node) in [("far", "b"), ("near", "a")] {
        let (pod, server) = serve(mesh, place, backends::exchange())?;
        for target in [mesh.service(place).at(server.port()), pod.at6(server.port())] {
            let proxy = mesh.proxy(node).watch()?;
            Plan::random(200_000).run(&mesh.pod("plain-client").connect(target)?)?;
            server.no_failures()?;
            let labels = [("direction", "inbound"), ("peer", "src"), ("pod", place)];
            proxy.expect(
                "tcp_open_total",
                &[&labels[..], &[("tls", "no_identity"), ("client_id", "")]].concat(),
                1.0,
            )?;
            proxy.expect("inbound_tcp_authz_allow_total", &[("pod", place), ("tls", "no_identity")], 1.0)?;
        }
    }
    Ok(())
}

fn meshed_to_unmeshed(mesh: &Mesh) -> Result<()> {
    for place in ["plain-far", "plain-near"] {
        let (pod, server) = serve(mesh, place, backends::exchange())?;
        for target in [mesh.service(place).at(server.port()), pod.at6(server.port())] {
            let proxy = mesh.proxy("a").watch()?;
            Plan::random(200_000).run(&mesh.pod("client").connect(target)?)?;
            server.no_failures()?;
            let labels = [
                ("direction", "outbound"),
                ("peer", "dst"),
                ("pod", "client"),
                ("tls", "no_identity"),
                ("no_tls_reason", "not_provided_by_service_discovery"),
                ("dst_pod", place),
            ];
            proxy.expect("tcp_open_total", &labels, 1.0)?;
        }
    }
    Ok(())
}

fn unmeshed_to_unmeshed(mesh: &Mesh) -> Result<()> {
    let (_, server) = serve(mesh, "plain-far", backends::exchange())?;
    let target = mesh.service("plain-far").at(server.port());
    let (a, b) = (mesh.proxy("a").watch()?, mesh.proxy("b").watch()?);
    Plan::random(200_000).run(&mesh.pod("plain-client").connect(target)?)?;
    server.no_failures()?;
    for proxy in [a, b] {
        proxy.expect("tcp_open_total", &[], 0.0)?;
    }
    Ok(())
}

fn external(mesh: &Mesh) -> Result<()> {
    // The other node's own address, which is not a pod's, stands for the outside world.
    for address in mesh.node_addresses("b")? {
        let server =
            backends::Server::start(&mesh.node("b"), SocketAddr::new(any(address), 0), backends::exchange())?;
        let proxy = mesh.proxy("a").watch()?;
        let stream = mesh.pod("client").connect(SocketAddr::new(address, server.port()))?;
        Plan::random(200_000).run(&stream)?;
        server.no_failures()?;
        let labels = [("direction", "outbound"), ("peer", "dst"), ("pod", "client"), ("tls", "no_identity")];
        proxy.expect("tcp_open_total", &labels, 1.0)?;
    }
    Ok(())
}

fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}
