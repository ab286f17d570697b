//! A proxy that is told to end.

use anyhow::{Context, Result, ensure};
use weft_tests::{backends, mesh::Mesh, suite::Area, wait};

use super::{DRAIN, ping, request};

pub(super) fn scenarios(area: Area) -> Area {
    area.scenario(
        "sigterm_drains",
        "After SIGTERM open connections go on and new ones follow the fail mode; the proxy ends with its last \
         connection.",
        sigterm_drains,
    )
    .scenario(
        "drain_is_bounded",
        "After SIGTERM a proxy ends at its drain timeout, although a connection is still open.",
        drain_is_bounded,
    )
}

fn sigterm_drains(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    let target = mesh.service("closed-server").at(80);
    let mut running = mesh.pod("closed-client").connect(target)?;
    ping(&mut running)?;
    let proxy = mesh.proxy("a");
    proxy.terminate()?;
    wait::until_for(wait::PROMPTLY, "new connections are refused", || {
        request(mesh, "closed-client", target).is_err()
    })?;
    for _ in 0..20 {
        ping(&mut running).context("on the open connection")?;
    }
    drop(running);
    // Well before its drain timeout, since nothing is left to drain.
    let status = proxy.terminated(DRAIN / 2)?;
    ensure!(status.success(), "the proxy ended with {status}");
    server.no_failures()?;
    proxy.revive()?;
    mesh.until_enrolled()
}

fn drain_is_bounded(mesh: &Mesh) -> Result<()> {
    let _server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    let mut lasting = mesh.pod("closed-client").connect(mesh.service("closed-server").at(80))?;
    ping(&mut lasting)?;
    let status = mesh.proxy("a").terminated(DRAIN + wait::PROMPTLY)?;
    ensure!(status.success(), "the proxy ended with {status}");
    ensure!(ping(&mut lasting).is_err(), "a connection of the ended process still works");
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()
}
