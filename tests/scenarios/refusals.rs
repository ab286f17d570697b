//! A connection that cannot be delivered is reset, and log and metric say why: one set of reasons for all directions.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

pub(crate) fn area() -> Area {
    Area::new("refusals", every_reason)
        .scenario(
            "no_ready_endpoint",
            "A service without endpoints: the client's proxy says `no ready endpoint`.",
            no_ready_endpoint,
        )
        .scenario(
            "refused_by_endpoint",
            "Nobody listens on the port: `refused by endpoint`, for every kind of destination.",
            refused_by_endpoint,
        )
        .scenario(
            "denied_by_policy",
            "Policy denies the client: `denied by policy`, at the client's proxy on the same node and at the server's \
             on another.",
            denied_by_policy,
        )
        .scenario(
            "endpoint_unreachable",
            "An address that nobody has: `endpoint unreachable`.",
            endpoint_unreachable,
        )
        .alone(
            "no_certificate_and_no_control_plane",
            "Certificates expire while the control plane is away: `no certificate` to another node, and `control plane \
             unavailable` for a destination that is not known yet.",
            short_lived_certificates,
            no_certificate_and_no_control_plane,
        )
        .within(Duration::from_secs(150))
}

fn every_reason() -> Description {
    mesh("refusals")
        .pod("client", |pod| {
            pod.node("a")
                .meshed()
                .policy("all-authenticated")
                .annotate("config.weft.dev/splice-ports", "8500")
        })
        .pod("near", |pod| {
            pod.node("a")
                .meshed()
                .annotate("config.weft.dev/splice-ports", "8500")
                .annotate("config.linkerd.io/opaque-ports", "9000")
        })
        .pod("far", |pod| pod.node("b").meshed())
        .pod("plain", |pod| pod.node("b").unmeshed())
        .pod("near-closed", |pod| pod.node("a").meshed().policy("deny"))
        .pod("far-closed", |pod| pod.node("b").meshed().policy("deny"))
        .service("empty", |service| service.selects("nobody").port(80, 80))
}

/// The connection ends at once, and the proxy of the node says why, in metric and log.
fn refused(mesh: &Mesh, node: &str, direction: &str, pod: &str, reason: &str, to: SocketAddr) -> Result<()> {
    let proxy = mesh.proxy(node).watch()?;
    mesh.proxy(node).log().mark();
    let answer = wait::promptly("the refusal", || -> Result<usize> {
        let mut stream = mesh.pod("client").connect(to)?;
        stream.write_all(b"?")?;
        Ok(stream.read(&mut [0; 1])?)
    })?;
    ensure!(answer.as_ref().map_or(true, |bytes| *bytes == 0), "{to} answered {answer:?}");
    let labels = [("pod", pod), ("error", reason)];
    proxy.expect(&format!("{direction}_tcp_errors_total"), &labels, 1.0).context(reason.to_owned())?;
    mesh.proxy(node).log().expect_line(&[&format!("test/{pod}"), reason]).map(drop)
}

fn no_ready_endpoint(mesh: &Mesh) -> Result<()> {
    refused(mesh, "a", "outbound", "client", "no ready endpoint", mesh.service("empty").at(80))
}

fn refused_by_endpoint(mesh: &Mesh) -> Result<()> {
    ["near", "far", "plain"].into_iter().try_for_each(|pod| {
        let nobody = mesh.pod(pod).at(mesh.unused_port());
        refused(mesh, "a", "outbound", "client", "refused by endpoint", nobody)
            .with_context(|| pod.to_owned())
    })?;
    let spliced = mesh.pod("near").at(8500);
    refused(mesh, "a", "outbound", "client", "refused by endpoint", spliced).context("spliced")?;
    refused_directly(mesh)
}

/// A direct connection is refused by the kernel: connect() itself says so. If the port's last listener is gone, the next
/// connection goes through the proxy again, which gives the reason.
fn refused_directly(mesh: &Mesh) -> Result<()> {
    let (client, target) = (mesh.pod("client"), mesh.pod("near").at(9000));
    let server = mesh.pod("near").serve(9000, backends::echo())?;
    let proxy = mesh.proxy("a").watch()?;
    client.connect(target)?.write_all(b"?")?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", "granted")], 1.0)?;
    let proxy = mesh.proxy("a").watch()?;
    let mut stream = client.connect(target)?;
    stream.write_all(b"?")?;
    stream.read_exact(&mut [0; 1])?;
    proxy.expect("weft_capture_total", &[("hook", "connect"), ("outcome", "direct")], 1.0)?;
    drop((stream, server));
    refused(mesh, "a", "outbound", "client", "refused by endpoint", target).context("direct")
}

fn denied_by_policy(mesh: &Mesh) -> Result<()> {
    let near = mesh.pod("near-closed").serve(8080, backends::echo())?;
    refused(mesh, "a", "outbound", "client", "denied by policy", mesh.pod("near-closed").at(8080))?;
    let far = mesh.pod("far-closed").serve(8080, backends::echo())?;
    refused(mesh, "b", "inbound", "far-closed", "denied by policy", mesh.pod("far-closed").at(8080))?;
    near.untouched()?;
    far.untouched()
}

fn endpoint_unreachable(mesh: &Mesh) -> Result<()> {
    let nobody = SocketAddr::from(([10, 244, 2, 250], 80));
    refused(mesh, "a", "outbound", "client", "endpoint unreachable", nobody)
}

fn short_lived_certificates() -> Description {
    every_reason().control_arg("--issuance-lifetime=5s")
}

fn no_certificate_and_no_control_plane(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("far").serve(8080, backends::echo())?;
    let (client, far) = (mesh.pod("client"), mesh.pod("far").at(8080));
    let mut stream = client.connect(far)?;
    stream.write_all(b"?")?;
    stream.read_exact(&mut [0; 1])?;
    drop(stream);
    mesh.control().kill()?;
    let proxy = mesh.proxy("a");
    // 5 s, and 20 s more for clocks that differ.
    wait::until_ok_for(Duration::from_secs(60), "the certificate expires", || {
        refused(mesh, "a", "outbound", "client", "no certificate", far)
    })?;
    // Nobody has asked for this address yet.
    let unknown = mesh.pod("near").at(mesh.unused_port());
    refused(mesh, "a", "outbound", "client", "control plane unavailable", unknown)?;
    ensure!(proxy.pid().is_ok());
    mesh.control().revive()?;
    server.no_failures()
}
