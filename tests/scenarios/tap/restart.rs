//! Taps of a proxy that is replaced.

use anyhow::{Context, Result, ensure};
use weft_tests::{
    mesh::Mesh,
    tap::{Tap, tap},
    wait,
};

use crate::http_mesh::{
    ask,
    ways::{Way, ok},
};

fn way(mesh: &Mesh) -> Way<'_> {
    Way { mesh, client: mesh.pod("client"), server: mesh.pod("far"), node: "b", tls: "true" }
}

/// A tap that shows the requests of the client, as soon as the proxy can be tapped.
fn open(mesh: &Mesh) -> Result<Tap> {
    wait::until_ok("the proxy can be tapped", || tap(mesh, "a", &["client"])?.direction("outbound").open())
}

fn shows_requests(way: &Way<'_>, tap: &Tap) -> Result<()> {
    let origin = way.answering(|_| ok("hello"))?;
    let before = tap.calls().len();
    let mut wire = way.connect(origin.port())?;
    for _ in 0..5 {
        ask(&mut wire, "/restart", "")?;
    }
    tap.expect(before + 5).map(drop)
}

pub(super) fn takeover(mesh: &Mesh) -> Result<()> {
    let way = way(mesh);
    let before = open(mesh)?;
    shows_requests(&way, &before)?;
    mesh.proxy("a").take_over()?;
    let ended = before.until_ended()?.context("it ended as if it were complete")?;
    ensure!(ended.code() == tonic::Code::Unavailable, "{ended:?}");
    let after = open(mesh)?;
    shows_requests(&way, &after)
}

pub(super) fn kill(mesh: &Mesh) -> Result<()> {
    let way = way(mesh);
    let before = open(mesh)?;
    shows_requests(&way, &before)?;
    mesh.proxy("a").kill()?;
    ensure!(before.until_ended()?.is_some(), "it ended as if it were complete");
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()?;
    let after = open(mesh)?;
    shows_requests(&way, &after)
}
