//! A client that delays its handshake until it is not allowed any more.

use anyhow::{Result, ensure};
use weft_tests::{
    backends,
    mesh::{Mesh, Pod},
    texts::change,
};

use super::{super::hook, PORT, establish_direct_path_to_echo, half_open::HalfOpen};

pub(super) fn handshake(mesh: &Mesh) -> Result<()> {
    let (client, pod) = (mesh.pod("client"), mesh.pod("near"));
    let server = pod.serve(PORT, backends::echo())?;
    establish_direct_path_to_echo(mesh)?;
    let proxy = mesh.proxy("a").watch()?;
    drop_answers(&client, &pod)?;
    let delayed = HalfOpen::start(&client, pod.at(PORT))?;
    proxy.expect("weft_capture_total", &hook("sk_lookup", "direct"), 1.0)?;
    let accepted = server.accepted();

    mesh.change_pod("near", |pod| pod.policy("deny"))?;
    let withdrawn = [("change", change::WITHDRAWN_BY_CONFIG)];
    proxy.expect("weft_direct_pass_changes_total", &withdrawn, 1.0)?;
    delayed.expect_half_open()?;
    stop_dropping(&client)?;
    delayed.expect_refusal()?;
    ensure!(server.accepted() == accepted, "the application saw the connection");
    proxy.expect("weft_direct_connections_total", &[("side", "destination")], 0.0)
}

pub(super) fn syn(mesh: &Mesh) -> Result<()> {
    let (client, pod) = (mesh.pod("client"), mesh.pod("near"));
    let server = pod.serve(PORT, backends::echo())?;
    establish_direct_path_to_echo(mesh)?;
    let accepted = server.accepted();
    let proxy = mesh.proxy("a").watch()?;
    drop_syns(&client, &pod)?;
    let delayed = HalfOpen::start(&client, pod.at(PORT))?;
    proxy.expect("weft_capture_total", &hook("connect", "direct"), 1.0)?;

    mesh.proxy("a").kill()?;
    mesh.change_pod("near", |pod| pod.policy("deny"))?;
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()?;
    delayed.expect_half_open()?;
    stop_dropping(&client)?;
    delayed.expect_refusal()?;
    ensure!(server.accepted() == accepted, "the application saw the connection");
    Ok(())
}

/// Drops the server's answers in the client's namespace.
pub(super) fn drop_answers(client: &Pod, server: &Pod) -> Result<()> {
    let rules = format!(
        "table ip delay {{ chain in {{ type filter hook input priority 0; ip saddr {} tcp sport {PORT} drop; }}; }}",
        server.v4
    );
    client.run("nft", &[&rules]).map(drop)
}

/// Drops the client's SYNs in its namespace.
fn drop_syns(client: &Pod, server: &Pod) -> Result<()> {
    let rules = format!(
        "table ip delay {{ chain out {{ type filter hook output priority 0; ip daddr {} tcp dport {PORT} drop; }}; }}",
        server.v4
    );
    client.run("nft", &[&rules]).map(drop)
}

pub(super) fn stop_dropping(client: &Pod) -> Result<()> {
    client.run("nft", &["delete table ip delay"]).map(drop)
}
