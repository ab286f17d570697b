//! The ways in which the clients use their connections.

use std::net::SocketAddr;

use anyhow::Result;
use weft_tests::{attack, load::CloseMode, mesh::Mesh};

use super::PORTS;

/// No server listens on this port.
const UNSERVED: u16 = 9999;
/// Servers that accept the meshed client.
const OPEN: [&str; 2] = ["far", "near"];

/// One connection: how it ends and where it goes.
pub(super) struct Use {
    pub(super) mode: CloseMode,
    pub(super) server: &'static str,
    /// Whether the client dials the service or the pod.
    by_service: bool,
    port: u16,
}

impl Use {
    pub(super) fn target(&self, mesh: &Mesh) -> SocketAddr {
        match self.by_service {
            true => mesh.service(self.server).at(self.port),
            false => mesh.pod(self.server).at(self.port),
        }
    }
}

/// What the meshed client does, over and over.
pub(super) fn of_client() -> Vec<Use> {
    let unserved =
        OPEN.map(|server| Use { mode: CloseMode::Denied, by_service: false, server, port: UNSERVED });
    uses(CloseMode::Echo, &OPEN, 8)
        .chain(uses(CloseMode::Echo, &["guarded"], 4))
        .chain(uses(CloseMode::HalfClose, &OPEN, 4))
        .chain(uses(CloseMode::LeaveUnread, &OPEN, 4))
        .chain(uses(CloseMode::ResetAtOnce, &OPEN, 4))
        .chain(uses(CloseMode::ResetInFlight, &OPEN, 4))
        .chain(uses(CloseMode::AbortConnect, &OPEN, 4))
        .chain(uses(CloseMode::Denied, &["strict-far", "strict-near"], 4))
        .chain(unserved)
        .collect()
}

/// What the unmeshed client does: some of it is accepted, most is not.
pub(super) fn of_stranger(mesh: &Mesh) -> Result<Vec<Use>> {
    let (stranger, guarded) = (mesh.pod("stranger"), mesh.pod("guarded"));
    let hello =
        attack::Client::new(stranger.netns(), guarded.at(PORTS.start), &guarded.identity()).hello()?;
    let half_a_hello = hello[..hello.len() / 2].to_vec();
    let malformed_hello = [b"\x16\x03\x01\x02\x00".as_slice(), &[0xff; 700]].concat();
    let mut all: Vec<_> =
        uses(CloseMode::Echo, &["far"], 1).chain(uses(CloseMode::Denied, &["guarded"], 1)).collect();
    for bytes in [hello, half_a_hello, malformed_hello, b"\x16".to_vec(), Vec::new()] {
        all.extend(uses(CloseMode::Garbage(bytes), &["guarded", "far"], 1));
    }
    Ok(all)
}

/// The mode with each server, on changing ports, by service and by pod in turn.
fn uses(mode: CloseMode, servers: &[&'static str], times: usize) -> impl Iterator<Item = Use> {
    let each = servers.iter().copied().flat_map(move |server| (0..times).map(move |n| (server, n)));
    each.map(move |(server, n)| {
        let port = PORTS.start + (n as u16 % PORTS.len() as u16);
        Use { mode: mode.clone(), by_service: n % 2 == 0, server, port }
    })
}
