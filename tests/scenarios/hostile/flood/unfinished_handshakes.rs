//! TLS handshakes that the client does not finish.

use anyhow::{Result, bail};
use weft_tests::{
    attack::{Attempt, Authority, Client, Verdict},
    backends,
    mesh::Mesh,
    texts::error,
};

use super::super::others_are_served;

const HANDSHAKES: usize = 50;

pub(super) fn unfinished_handshakes(mesh: &Mesh) -> Result<()> {
    let (stranger, far) = (mesh.pod("stranger"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let client = Client::new(stranger.netns(), far.at(server.port()), &far.identity());
    let watch = mesh.proxy("b").watch()?;
    let mut open = Vec::new();
    for _ in 0..HANDSHAKES {
        let mut tls = client.begin(None)?;
        let mut stream = stranger.connect(far.at(server.port()))?;
        while tls.wants_write() {
            tls.write_tls(&mut stream)?;
        }
        open.push(stream);
    }
    others_are_served(mesh)?;
    let labels = [("pod", "far"), ("error", error::HANDSHAKE_TIMEOUT)];
    watch.expect("inbound_tcp_errors_total", &labels, HANDSHAKES as f64)?;
    server.untouched()?;

    // As a control: the same client is accepted if it finishes its handshake.
    let authority = Authority::of_mesh(&mesh.control().state(""))?;
    let leaf = authority.leaf(&mesh.pod("bystander").identity())?;
    match client.attempt(Some(leaf), b"hello", Attempt::default())? {
        Verdict::Answered { .. } => Ok(()),
        Verdict::Refused(e) => bail!("refused: {e}"),
    }
}
