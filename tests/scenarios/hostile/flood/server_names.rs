//! Clients that invent server names, each of which becomes a label of metrics.

use std::io::{Read, Write};

use anyhow::{Result, ensure};
use weft_tests::{backends, mesh::Mesh};

use super::{
    super::others_are_served,
    hello::{client_hello, server_name},
};

const NAMES: usize = 3000;
/// Label sets of connections that are recorded at least.
const MIN_RECORDED: usize = 1000;
/// There is room for 5 000 label sets of authorizations; half of it is left to others.
const MAX_AUTHORIZATIONS: usize = 2600;

pub(super) fn many_server_names(mesh: &Mesh) -> Result<()> {
    let (stranger, pod) = (mesh.pod("stranger"), mesh.pod("mallory"));
    let server = pod.serve(mesh.unused_port(), backends::name("bye"))?;
    for n in 0..NAMES {
        let name = format!("made-up-{n}.example");
        let mut stream = stranger.connect(pod.at(server.port()))?;
        stream.write_all(&client_hello(&server_name(name.as_bytes())))?;
        let _ = stream.read(&mut [0; 8]);
    }
    let proxy = mesh.proxy("a");
    let metrics = proxy.metrics()?;
    let recorded =
        metrics.label_values("tcp_open_total", &[("pod", "mallory"), ("tls", "opaque")], "sni").len();
    let authorized =
        metrics.label_values("inbound_tcp_authz_allow_total", &[("pod", "mallory")], "sni").len();
    ensure!(recorded >= MIN_RECORDED, "only {recorded} names are recorded");
    ensure!(authorized <= MAX_AUTHORIZATIONS, "{authorized} authorizations are recorded");
    let watch = proxy.watch()?;
    others_are_served(mesh)?;
    watch.expect_some("inbound_tcp_authz_allow_total", &[("pod", "near")])
}
