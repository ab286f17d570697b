//! Do opaque connections within a node go without the proxy once one was admitted, and does nothing else?

mod forged;
mod passing;
mod succession;
mod withdrawn;

use std::net::SocketAddr;

use anyhow::{Context, Result};
use weft_tests::{
    load::Plan,
    mesh::{Description, Mesh, Watch, mesh},
    suite::Area,
};

pub(crate) fn area() -> Area {
    succession::scenarios(withdrawn::scenarios(passing::scenarios(Area::new("direct", one_node))))
}

/// Attacks have the harder ground: attackers and victims on one bridge, where the proxy was told to trust it.
pub(crate) fn attacks() -> Area {
    forged::scenarios(Area::new("direct", on_a_trusted_bridge))
}

/// Ports whose bytes are declared opaque.
const OPAQUE: &str = "9000-9099";
const PORTS: std::ops::Range<u16> = 9000..9030;

/// A client and servers on one node, and one server elsewhere.
pub(super) fn one_node() -> Description {
    mesh("direct")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("other", |pod| pod.node("a").meshed())
        .pod("plain", |pod| pod.node("a").unmeshed())
        .pod("near", |pod| {
            pod.node("a")
                .meshed()
                .policy("all-authenticated")
                .annotate("config.linkerd.io/opaque-ports", OPAQUE)
        })
        .pod("far", |pod| {
            pod.node("b")
                .meshed()
                .policy("all-authenticated")
                .annotate("config.linkerd.io/opaque-ports", OPAQUE)
        })
        .pod("shy", |pod| {
            pod.node("a")
                .meshed()
                .annotate("config.linkerd.io/opaque-ports", OPAQUE)
                .annotate("config.weft.dev/direct-pass", "disabled")
        })
        .service("near", |service| PORTS.fold(service, |service, port| service.port(port, port)))
}

/// The same pods, which can reach each other's packets, and a proxy that does not mind.
pub(super) fn on_a_trusted_bridge() -> Description {
    one_node().bridged().proxy_arg("--direct-pass=on")
}

/// What the kernel's side decided.
pub(crate) fn hook<'a>(hook: &'a str, outcome: &'a str) -> [(&'a str, &'a str); 2] {
    [("hook", hook), ("outcome", outcome)]
}

/// Sends and receives some bytes through the proxy, and waits until the next connection would go directly.
pub(super) fn pave(mesh: &Mesh, client: &str, target: SocketAddr) -> Result<()> {
    let proxy = mesh.proxy("a").watch()?;
    Plan::random(20_000).run(&mesh.pod(client).connect(target)?).context("through the proxy")?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", "granted")], 1.0)?;
    // Else who counts from now on may count its end.
    proxy.expect_some("tcp_close_total", &[("direction", "outbound"), ("peer", "src"), ("pod", client)])
}

/// The connections since went so.
pub(super) fn went(proxy: &Watch, directly: f64, by_proxy: f64) -> Result<()> {
    proxy.eventually(|now| {
        now.expect("weft_capture_total", &hook("connect", "direct"), directly)?;
        now.expect("weft_capture_total", &hook("connect", "redirected"), by_proxy)
    })
}
