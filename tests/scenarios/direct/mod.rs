//! Direct pass: opaque connections within a node that bypass the proxy, after it has authorized a first one.

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
    texts::change,
};

pub(crate) fn area() -> Area {
    succession::scenarios(withdrawn::scenarios(passing::scenarios(Area::new("direct", one_node))))
}

/// Attacks run where they are easiest: attackers and victims are on one bridge, which the proxy is told to trust.
pub(crate) fn attacks() -> Area {
    forged::scenarios(Area::new("direct", on_a_trusted_bridge))
}

/// Ports that are declared opaque.
const OPAQUE: &str = "9000-9099";
const PORTS: std::ops::Range<u16> = 9000..9030;

/// A client and servers on one node, and a server on the other.
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
        .pod("disabled", |pod| {
            pod.node("a")
                .meshed()
                .annotate("config.linkerd.io/opaque-ports", OPAQUE)
                .annotate("config.weft.dev/direct-pass", "disabled")
        })
        .service("near", |service| PORTS.fold(service, |service, port| service.port(port, port)))
}

/// The same pods on a bridge, where they can intercept each other's packets, and a proxy that allows direct pass there.
pub(super) fn on_a_trusted_bridge() -> Description {
    one_node().bridged().proxy_arg("--direct-pass=on")
}

/// Labels of `weft_capture_total`.
pub(crate) fn hook<'a>(hook: &'a str, outcome: &'a str) -> [(&'a str, &'a str); 2] {
    [("hook", hook), ("outcome", outcome)]
}

/// Connects through the proxy, and waits until it has granted direct pass for the next connection.
pub(super) fn establish_direct_path(mesh: &Mesh, client: &str, target: SocketAddr) -> Result<()> {
    let proxy = mesh.proxy("a").watch()?;
    Plan::random(20_000).run(&mesh.pod(client).connect(target)?).context("through the proxy")?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", change::GRANTED)], 1.0)?;
    // Otherwise its end might be counted later.
    proxy.expect_some("tcp_close_total", &[("direction", "outbound"), ("peer", "src"), ("pod", client)])
}

/// Checks how many connections went directly and how many through the proxy.
pub(super) fn counted(proxy: &Watch, directly: f64, by_proxy: f64) -> Result<()> {
    proxy.eventually(|now| {
        now.expect("weft_capture_total", &hook("connect", "direct"), directly)?;
        now.expect("weft_capture_total", &hook("connect", "redirected"), by_proxy)
    })
}
