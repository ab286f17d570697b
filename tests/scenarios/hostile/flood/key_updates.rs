//! A TLS client that sends key updates without end.

use std::{io::Write, net::TcpStream, time::Duration};

use anyhow::{Result, ensure};
use weft_tests::{
    attack::{Authority, Client},
    backends,
    mesh::Mesh,
};

use super::MemoryBefore;

const UPDATES: usize = 20_000;

pub(super) fn endless_key_updates(mesh: &Mesh) -> Result<()> {
    let authority = Authority::of_mesh(&mesh.control().state(""))?;
    let (stranger, far) = (mesh.pod("stranger"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::sink())?;
    let memory = MemoryBefore::of(mesh.proxy("b"))?;
    let client = Client::new(stranger.netns(), far.at(server.port()), &far.identity());
    let mut tls = client.begin(Some(authority.leaf(&mesh.pod("bystander").identity())?))?;
    let mut stream: TcpStream = stranger.connect(far.at(server.port()))?;
    rustls::Stream::new(&mut tls, &mut stream).write_all(b"hello")?;

    // The client does not read the proxy's answers to the updates.
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut sent = 0;
    while sent < UPDATES {
        tls.refresh_traffic_keys()?;
        // A byte of data between two updates, so that they are not refused as a flood of updates.
        let written = tls.writer().write_all(b"x").and_then(|()| {
            while tls.wants_write() {
                tls.write_tls(&mut stream)?;
            }
            Ok(())
        });
        if written.is_err() {
            break;
        }
        sent += 1;
    }
    println!("     {sent} key updates were accepted");
    ensure!(sent > 0, "not one key update was accepted");
    memory.expect_little_growth()
}
