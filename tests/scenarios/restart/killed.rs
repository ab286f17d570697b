//! A proxy that is killed, and started again.

use std::io::ErrorKind;

use anyhow::{Context, Result, ensure};
use weft_tests::{backends, mesh::Mesh, suite::Area, wait};

use super::{nothing_in_plaintext, request, revive};

pub(super) fn scenarios(area: Area) -> Area {
    area.scenario(
        "kill_fail_closed",
        "After kill -9 connections from and to a pod that fails closed are refused promptly, and it sends no \
         plaintext.",
        kill_fail_closed,
    )
    .scenario(
        "kill_fail_open",
        "After kill -9 connections from and to a pod that fails open go directly.",
        kill_fail_open,
    )
    .scenario(
        "recovery",
        "A proxy that is started after kill -9 serves the same pods by mTLS again, with their existing \
         listeners, and no connection falls back to plaintext in the meantime.",
        recovery,
    )
}

fn kill_fail_closed(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    let plain = mesh.pod("plain-server").serve(8080, backends::echo())?;
    request(mesh, "plain-client", mesh.pod("closed-server").at(8080)).context("while the proxy runs")?;
    for proxy in mesh.proxies() {
        proxy.kill()?;
    }
    let accepted = (server.accepted(), plain.accepted());
    let ways = [
        ("closed-client", mesh.service("closed-server").at(80)),
        ("closed-client", mesh.pod("plain-server").at(8080)),
        ("closed-client", mesh.pod("plain-server").at6(8080)),
        ("plain-client", mesh.pod("closed-server").at(8080)),
        ("plain-client", mesh.pod("closed-server").at6(8080)),
    ];
    for (client, target) in ways {
        let refused = wait::promptly("the refusal", || mesh.pod(client).connect(target))?;
        let kind = refused.map(drop).map_err(|e| e.kind());
        ensure!(kind == Err(ErrorKind::ConnectionRefused), "{client} to {target}: {kind:?}");
    }
    ensure!((server.accepted(), plain.accepted()) == accepted, "an application saw a connection");
    revive(mesh)
}

fn kill_fail_open(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("open-server").serve(8080, backends::echo())?;
    for proxy in mesh.proxies() {
        proxy.kill()?;
    }
    for target in [
        mesh.service("open-server").at(80),
        mesh.service("open-server").at6(80),
        mesh.pod("open-server").at(8080),
    ] {
        for client in ["open-client", "plain-client"] {
            request(mesh, client, target).with_context(|| format!("{client} to {target}"))?;
        }
    }
    server.no_failures()?;
    revive(mesh)
}

fn recovery(mesh: &Mesh) -> Result<()> {
    // The listener is older than the new process, which has to find it.
    let server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    for proxy in mesh.proxies() {
        proxy.kill()?;
    }
    revive(mesh)?;
    let proxy = mesh.proxy("b").watch()?;
    let target = mesh.service("closed-server").at(80);
    wait::until_ok("a connection after the restart", || request(mesh, "closed-client", target))?;
    let secured = [("direction", "inbound"), ("pod", "closed-server"), ("tls", "true")];
    proxy.expect_some("tcp_open_total", &secured)?;
    nothing_in_plaintext(mesh)?;
    server.no_failures()
}
