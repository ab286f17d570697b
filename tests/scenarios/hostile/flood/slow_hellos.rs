//! ClientHellos that arrive very slowly.

use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use weft_tests::{
    backends,
    mesh::Mesh,
    texts::{error, log},
};

use super::super::others_are_served;

const CONNECTIONS: usize = 300;
/// The headers of a handshake record and a ClientHello of 16 000 bytes.
const BEGINNING: [u8; 9] = [22, 3, 1, 62, 128, 1, 0, 62, 124];

pub(super) fn slow_hellos(mesh: &Mesh) -> Result<()> {
    let far = mesh.pod("far");
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let watch = mesh.proxy("b").watch()?;
    let streams = mesh.pod("stranger").connect_many(far.at(server.port()), CONNECTIONS)?;
    for mut stream in &streams {
        stream.write_all(&BEGINNING)?;
    }
    for _ in 0..4 {
        others_are_served(mesh)?;
        for mut stream in &streams {
            let _ = stream.write_all(&[0]);
        }
        thread::sleep(Duration::from_millis(300));
    }
    for mut stream in &streams {
        let ended = stream.read(&mut [0; 1]);
        ensure!(!matches!(ended, Ok(1)), "an answer: {ended:?}");
    }
    let labels = [("pod", "far"), ("error", error::DETECTION_TIMEOUT)];
    watch.expect("inbound_tcp_errors_total", &labels, CONNECTIONS as f64)?;
    server.untouched()?;

    // The log has some of the refusals and the number of the others.
    let log = mesh.proxy("b").log();
    log.expect_line(&[&[log::DETECTION_TIMEOUT], log::REPEATED].concat())?;
    let lines = log.text().lines().filter(|line| line.contains(log::DETECTION_TIMEOUT)).count();
    ensure!(lines < CONNECTIONS / 4, "{lines} lines for {CONNECTIONS} refusals");
    Ok(())
}
