//! Inbound policies: each accepts the clients that it should, and no others.
//!
//! [`authorizations`] adds clients to a policy; [`probes`] are let in whatever it says.

mod authorizations;
mod probes;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    mesh::{Description, Mesh, mesh, server},
    suite::Area,
    wait,
};

pub(crate) fn areas() -> [Area; 3] {
    [default_policies(), authorizations::area(), probes::area()]
}

fn default_policies() -> Area {
    Area::new("policy", one_pod_per_policy)
        .scenario(
            "all_unauthenticated",
            "all-unauthenticated accepts meshed clients of both nodes and unmeshed ones.",
            |mesh| holds(mesh, "all-unauthenticated", [true; 5]),
        )
        .scenario(
            "all_authenticated",
            "all-authenticated accepts meshed clients of both nodes and refuses unmeshed ones.",
            |mesh| holds(mesh, "all-authenticated", [true, true, false, false, false]),
        )
        .scenario(
            "cluster_authenticated",
            "cluster-authenticated accepts meshed clients from the cluster's networks and refuses unmeshed ones.",
            |mesh| holds(mesh, "cluster-authenticated", [true, true, false, false, false]),
        )
        .scenario(
            "cluster_unauthenticated",
            "cluster-unauthenticated accepts all clients from the cluster's networks and refuses others.",
            |mesh| holds(mesh, "cluster-unauthenticated", [true, true, true, true, false]),
        )
        .scenario("deny", "deny accepts nobody.", |mesh| holds(mesh, "deny", [false; 5]))
        .scenario("audit", "audit accepts everybody and counts the clients that another policy would refuse.", |mesh| {
            holds(mesh, "audit", [true; 5])
        })
        .scenario(
            "one_port_by_annotation",
            "config.linkerd.io/proxy-require-identity-inbound-ports requires an identity on one port of an open pod.",
            one_port_by_annotation,
        )
        .scenario(
            "one_port_by_server",
            "A Server resource's accessPolicy applies to its port only, whether it is stricter or more permissive.",
            one_port_by_server,
        )
        .scenario(
            "skipped_inbound_port",
            "A port in config.linkerd.io/skip-inbound-ports bypasses the proxy.",
            skipped_inbound_port,
        )
        .scenario(
            "skipped_outbound",
            "Outbound connections to config.linkerd.io/skip-outbound-ports and skip-subnets bypass the proxy.",
            skipped_outbound,
        )
}

const POLICIES: [&str; 6] = [
    "all-unauthenticated",
    "all-authenticated",
    "cluster-unauthenticated",
    "cluster-authenticated",
    "deny",
    "audit",
];

/// An address for documentation (RFC 5737), outside the cluster's networks.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// A server for each policy on node `b`; meshed and unmeshed clients on both nodes, and one from outside the cluster's
/// networks.
fn one_pod_per_policy() -> Description {
    let clients = mesh("policy")
        .control_arg("--cluster-networks=10.244.0.0/16,fd00::/8")
        .proxy_arg("--cluster-networks=10.244.0.0/16,fd00::/8")
        .pod("far-client", |pod| pod.node("a").meshed())
        .pod("near-client", |pod| pod.node("b").meshed())
        .pod("plain-client", |pod| pod.node("a").unmeshed())
        .pod("plain-near-client", |pod| pod.node("b").unmeshed())
        .pod("outsider", |pod| pod.node("a").unmeshed().ip(OUTSIDE))
        .pod("mixed", |pod| {
            pod.node("b")
                .meshed()
                .policy("all-unauthenticated")
                .annotate("config.linkerd.io/proxy-require-identity-inbound-ports", "9001")
                .annotate("config.linkerd.io/skip-inbound-ports", "9003")
                .port(9002)
        })
        .pod("skipper", |pod| {
            pod.node("a")
                .meshed()
                .annotate("config.linkerd.io/skip-outbound-ports", "9004-9005")
                .annotate("config.linkerd.io/skip-subnets", "10.244.1.0/24")
        })
        .pod("strict", |pod| pod.node("b").meshed().policy("deny"))
        .file("server-mixed.yaml", &server("mixed-9002", "mixed", 9002, "deny"))
        .file("server-strict.yaml", &server("strict-9002", "strict", 9002, "all-unauthenticated"));
    POLICIES
        .into_iter()
        .fold(clients, |clients, policy| clients.pod(policy, |pod| pod.node("b").meshed().policy(policy)))
}

/// In the order of the expectations.
const CLIENTS: [&str; 5] = ["far-client", "near-client", "plain-client", "plain-near-client", "outsider"];

fn holds(mesh: &Mesh, policy: &str, expected: [bool; 5]) -> Result<()> {
    let server = mesh.pod(policy).serve(mesh.unused_port(), backends::echo())?;
    let proxy = mesh.proxy("b").watch()?;
    for (client, expected) in CLIENTS.into_iter().zip(expected) {
        for v6 in [false, true] {
            // Only the outsider's IPv4 address is outside the cluster's networks.
            if client == "outsider" && v6 {
                continue;
            }
            let counted = proxy.now()?;
            expect(mesh, client, policy, server.port(), v6, expected)?;
            let (name, other) = ("inbound_tcp_authz_allow_total", "inbound_tcp_authz_deny_total");
            let (name, other) = if expected { (name, other) } else { (other, name) };
            proxy.eventually(|now| {
                let new = now.since(&counted);
                new.expect(name, &[("pod", policy)], 1.0)?;
                new.expect(other, &[("pod", policy)], 0.0)
            })?;
        }
    }
    if expected.contains(&true) { server.no_failures() } else { server.untouched() }
}

/// Tries one connection and compares the result with the expectation; a refusal must be prompt.
fn expect(mesh: &Mesh, client: &str, to: &str, port: u16, v6: bool, expected: bool) -> Result<()> {
    let what = format!("{client} to {to}:{port}{}", if v6 { " over IPv6" } else { "" });
    let result = wait::promptly(&what, || try_connect(mesh, client, to, port, v6))?;
    match (result, expected) {
        (Ok(()), true) | (Err(_), false) => Ok(()),
        (Ok(()), false) => anyhow::bail!("{what}: was accepted"),
        (Err(e), true) => Err(e.context(format!("{what}: was refused"))),
    }
}

fn try_connect(mesh: &Mesh, client: &str, to: &str, port: u16, v6: bool) -> Result<()> {
    let pod = mesh.pod(to);
    let target = if v6 { pod.at6(port) } else { pod.at(port) };
    say(mesh.pod(client).connect(target)?)
}

fn say(mut stream: TcpStream) -> Result<()> {
    stream.write_all(b"may I?")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer == b"may I?", "the answer is {answer:?}");
    Ok(())
}

fn one_port_by_annotation(mesh: &Mesh) -> Result<()> {
    let servers = [9000, 9001].map(|port| mesh.pod("mixed").serve(port, backends::echo()));
    for client in ["far-client", "near-client", "plain-client"] {
        expect(mesh, client, "mixed", 9000, false, true)?;
        expect(mesh, client, "mixed", 9001, false, client != "plain-client")?;
    }
    servers.into_iter().try_for_each(|server| server?.no_failures())
}

fn one_port_by_server(mesh: &Mesh) -> Result<()> {
    let open = mesh.pod("mixed").serve(9002, backends::echo())?;
    let strict = [
        mesh.pod("strict").serve(9000, backends::echo())?,
        mesh.pod("strict").serve(9002, backends::echo())?,
    ];
    for client in ["far-client", "near-client", "plain-client"] {
        expect(mesh, client, "mixed", 9002, false, false)?;
        expect(mesh, client, "strict", 9002, false, true)?;
        expect(mesh, client, "strict", 9000, false, false)?;
    }
    let named = [("pod", "mixed"), ("srv_kind", "server"), ("srv_name", "mixed-9002")];
    mesh.proxy("b").metrics()?.expect_some("inbound_tcp_authz_deny_total", &named)?;
    open.untouched()?;
    strict[1].no_failures()?;
    strict[0].untouched()
}

fn skipped_inbound_port(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("mixed").serve(9003, backends::echo())?;
    let proxy = mesh.proxy("b").watch()?;
    expect(mesh, "plain-client", "mixed", 9003, false, true).context("skipped")?;
    expect(mesh, "far-client", "mixed", 9003, false, true).context("skipped")?;
    server.no_failures()?;
    proxy.expect("tcp_open_total", &[("direction", "inbound"), ("pod", "mixed")], 0.0)
}

fn skipped_outbound(mesh: &Mesh) -> Result<()> {
    let near = mesh.pod("plain-client").serve(9000, backends::echo())?;
    let far = [9000, 9005].map(|port| mesh.pod("all-unauthenticated").serve(port, backends::echo()));
    let proxy = mesh.proxy("a").watch()?;
    let counted = [("direction", "outbound"), ("pod", "skipper"), ("peer", "src")];
    expect(mesh, "skipper", "all-unauthenticated", 9005, false, true)?;
    expect(mesh, "skipper", "plain-client", 9000, false, true)?;
    // This one goes through the proxy; when it is counted, the two before it would be as well.
    expect(mesh, "skipper", "all-unauthenticated", 9000, false, true)?;
    proxy.expect("tcp_open_total", &counted, 1.0)?;
    near.no_failures()?;
    far.into_iter().try_for_each(|server| server?.no_failures())
}
