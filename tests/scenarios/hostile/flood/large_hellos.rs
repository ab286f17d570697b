//! ClientHellos that are too large or malformed.

use std::io::{Read, Write};

use anyhow::{Result, ensure};
use weft_tests::{backends, mesh::Mesh, wait};

use super::{
    super::others_are_served,
    MemoryBefore,
    hello::{client_hello, server_name},
};

const TIMES: usize = 20;
/// The TLS record type of alerts.
const ALERT: u8 = 21;

pub(super) fn large_hellos(mesh: &Mesh) -> Result<()> {
    let (stranger, far) = (mesh.pod("stranger"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let memory = MemoryBefore::of(mesh.proxy("b"))?;
    let own_name = server_name(far.identity().as_bytes());
    let many: Vec<u8> =
        (0..4000u16).flat_map(|n| [&(0x5000 + n).to_be_bytes()[..], &[0, 0]].concat()).collect();
    let hellos = [
        ("a server name of 60 000 bytes", client_hello(&server_name(&[b'a'; 60_000]))),
        ("a server name of 256 bytes", client_hello(&server_name(&[b'a'; 256]))),
        ("a server name that is not text", client_hello(&server_name(&[0xff; 20]))),
        ("two server names", client_hello(&own_name.repeat(2))),
        ("4 000 extensions and no key", client_hello(&[own_name.clone(), many].concat())),
        ("a truncated server name", client_hello(&own_name[..20])),
    ];
    for (what, hello) in &hellos {
        for _ in 0..TIMES {
            let mut stream = stranger.connect(far.at(server.port()))?;
            // It may be refused before everything is sent.
            let _ = stream.write_all(hello);
            let mut answer = Vec::new();
            let ended = wait::promptly(what, || stream.read_to_end(&mut answer))?;
            let is_refused = ended.is_err() || answer.first().is_none_or(|kind| *kind == ALERT);
            ensure!(is_refused, "{what}: {answer:?}");
        }
    }
    server.untouched()?;
    memory.expect_little_growth()?;
    others_are_served(mesh)
}
