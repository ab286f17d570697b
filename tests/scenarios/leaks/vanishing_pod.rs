//! A pod that is deleted, with or without open connections.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use socket2::SockRef;
use weft_tests::{backends::Behaviour, load::CloseMode, mesh::Mesh, wait};

use super::{PORTS, SPLICED, with_all_paths};

const CONNECTIONS: usize = 20;
/// How long the servers of a deleted pod go on.
const SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How a pod ends.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    /// It has closed its own connections.
    Orderly,
    /// Its connections are open, and their peers do not learn of its end.
    Vanishes,
}

/// Adds a pod, connects it in both directions, and deletes it.
pub(super) fn come_and_go(mesh: &Mesh, end: End) -> Result<()> {
    let guest = mesh.add_pod("guest", |pod| with_all_paths(pod.node("a").meshed()))?;
    for server in ["far", "near"] {
        for port in PORTS {
            let target = mesh.pod(server).at(port);
            wait::until_ok("the new pod is accepted", || {
                guest.netns().run(|| CloseMode::Echo.run(target, 1))?.map_err(Into::into)
            })?;
        }
    }
    let _server = guest.serve(PORTS.start, abrupt())?;
    let to_guest = mesh.pod("client").connect_many(guest.at(PORTS.start), CONNECTIONS)?;
    let count = if end == End::Vanishes { CONNECTIONS } else { 0 };
    let from_guest = [
        guest.connect_many(mesh.pod("far").at(PORTS.start), count)?,
        guest.connect_many(mesh.pod("near").at(SPLICED), count)?,
    ];
    mesh.remove_pod("guest")?;
    // Unacknowledged data, for which keepalive does not apply.
    for mut stream in &to_guest {
        stream.write_all(b"are you there?")?;
    }
    drop((from_guest, to_guest));
    mesh.until_enrolled()
}

/// Resets its connections some seconds after the last data.
fn abrupt() -> Behaviour {
    Arc::new(|accepted| {
        accepted.stream.set_read_timeout(Some(SERVER_TIMEOUT))?;
        SockRef::from(&accepted.stream).set_linger(Some(Duration::ZERO))?;
        while (&accepted.stream).read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
        Ok(())
    })
}
