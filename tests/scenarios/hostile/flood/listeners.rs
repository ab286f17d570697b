//! A pod that listens on thousands of ports.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    mesh::Mesh,
    texts::{log, map, outcome},
    wait,
};

use super::super::{Program, others_are_served};

/// Above the quota of listeners of one workload.
const MAX_ENTRIES: f64 = 2200.0;
/// The first port of `listeners.py`.
const FIRST_PORT: u16 = 20_000;

pub(super) fn thousands_of_listeners(mesh: &Mesh) -> Result<()> {
    let (mallory, proxy) = (mesh.pod("mallory"), mesh.proxy("a"));
    let watch = proxy.watch()?;
    let program = Program::start(&mallory, include_str!("listeners.py"), &[], "listening")?;
    watch.expect_some("weft_capture_total", &[("outcome", outcome::LISTENER_QUOTA)])?;
    proxy.log().expect_line(&[log::KERNEL_LIMIT, outcome::LISTENER_QUOTA])?;

    // New servers of others and mallory's first listeners are reached.
    others_are_served(mesh)?;
    mesh.pod("stranger").connect(mallory.at(FIRST_PORT)).context("mallory's first listener")?;
    let metrics = proxy.metrics()?;
    for map in map::LISTENER_LABELS {
        let entries = metrics.value("weft_capture_map_entries", &[("map", map)]);
        ensure!(entries < MAX_ENTRIES, "{map} has {entries} entries");
    }

    // The quota is free again when they are closed.
    drop(program);
    let server = mallory.serve(mesh.unused_port(), backends::name("here"))?;
    wait::until_ok("mallory's new server is reached", || {
        let mut answer = String::new();
        mesh.pod("stranger").connect(mallory.at(server.port()))?.read_to_string(&mut answer)?;
        ensure!(answer == "here", "{answer:?}");
        Ok(())
    })
}
