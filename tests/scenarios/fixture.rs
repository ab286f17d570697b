//! The cluster of scenarios that only use connections.

use anyhow::{Context, Result};
use weft_tests::{
    backends::{Behaviour, Server},
    mesh::{Description, Mesh, Pod, mesh},
};

/// The ports of every service of [`two_nodes`], which are also the target ports.
const PORTS: std::ops::Range<u16> = 8000..8060;

/// A client on node `a`; meshed and unmeshed servers on the same node (near) and on node `b` (far), each with a service
/// of the same name.
pub(crate) fn two_nodes() -> Description {
    let servers =
        [("near", "a", true), ("far", "b", true), ("plain-near", "a", false), ("plain-far", "b", false)];
    let mut cluster = mesh("two-nodes")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("plain-client", |pod| pod.node("a").unmeshed());
    for (name, node, meshed) in servers {
        cluster = cluster
            .pod(name, |pod| if meshed { pod.node(node).meshed() } else { pod.node(node).unmeshed() })
            .service(name, |service| PORTS.fold(service, |service, port| service.port(port, port)));
    }
    cluster
}

/// The two meshed servers as seen from the client: on the other node (mTLS) and on its own (no TLS, same policy).
pub(crate) const PLACES: [&str; 2] = ["far", "near"];

/// Serves a port of `server` that no other scenario uses.
pub(crate) fn serve<'a>(mesh: &'a Mesh, server: &str, behaviour: Behaviour) -> Result<(Pod<'a>, Server)> {
    let pod = mesh.pod(server);
    let server = pod.serve(mesh.unused_port(), behaviour)?;
    Ok((pod, server))
}

/// Runs `check` for a server on the other node and for one on the client's node, and fails unless the connections went
/// through the mesh: with mTLS to the other node, through the proxy on the same node.
pub(crate) fn each_place(mesh: &Mesh, mut check: impl FnMut(&str) -> Result<()>) -> Result<()> {
    PLACES.into_iter().try_for_each(|place| {
        let proxy = mesh.proxy("a").watch()?;
        check(place).with_context(|| format!("the {place} server"))?;
        let tls = if place == "near" { "local" } else { "true" };
        let labels =
            [("direction", "outbound"), ("peer", "dst"), ("pod", "client"), ("tls", tls), ("dst_pod", place)];
        proxy.expect_some("tcp_open_total", &labels)
    })
}
