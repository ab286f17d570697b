//! A proxy whose predecessor was another version, with maps that it cannot use.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use weft_tests::{
    capture::Capture,
    load::{Steady, Style},
    mesh::Mesh,
    suite::Area,
    wait,
};

use super::{
    loads::{Loads, only_tls, serve, until_drained},
    request, two_modes,
};

pub(super) fn scenarios(area: Area) -> Area {
    area.alone(
        "upgrade_to_another_version",
        "A successor with other eBPF maps takes over under load and no connection fails.",
        two_modes,
        upgrade,
    )
    .alone(
        "another_version_after_a_kill",
        "A proxy with other eBPF maps that finds the programs of a killed one captures its pods before it detaches \
         them: not one byte of plaintext is sent.",
        two_modes,
        after_kill,
    )
}

/// How long a proxy may take to detach the programs of a dead one.
const DETACH_TIMEOUT: Duration = Duration::from_secs(15);

fn upgrade(mesh: &Mesh) -> Result<()> {
    let servers = serve(mesh)?;
    let loads = Loads::start(mesh)?;
    for proxy in mesh.proxies() {
        let older = pretend_older_version(mesh, proxy.node())?;
        proxy.take_over().with_context(|| format!("another version of {proxy}"))?;
        ensure!(!older.exists(), "the older version's programs are still attached");
        loads.keep_on(100)?;
    }
    loads.no_failures()?;
    until_drained(mesh)?;
    servers.iter().try_for_each(|server| server.no_failures())?;
    mesh.until_enrolled()
}

fn after_kill(mesh: &Mesh) -> Result<()> {
    let _servers = serve(mesh)?;
    let wire = Capture::start(&mesh.node("a"))?;
    let target = mesh.service("closed-server").at(80);
    let pause = Duration::from_millis(3);
    let load = Steady::start(mesh.pod("closed-client").netns(), target, Style::Fresh, 2, pause);
    load.keep_on(20)?;
    for proxy in mesh.proxies() {
        proxy.kill()?;
        let older = pretend_older_version(mesh, proxy.node())?;
        proxy.revive()?;
        mesh.until_enrolled()?;
        wait::until_ok("the new version serves", || request(mesh, "closed-client", target))?;
        wait::until_for(DETACH_TIMEOUT, "the older version's programs are detached", || !older.exists())?;
        load.keep_on(20)?;
    }
    load.stop();
    only_tls(wire, &mesh.pod("closed-server"))?;
    mesh.until_enrolled()
}

/// Makes what a proxy has pinned look like that of an older version.
fn pretend_older_version(mesh: &Mesh, node: &str) -> Result<PathBuf> {
    let pins = mesh.pins(node)?;
    let layouts = fs::read_dir(&pins)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let [layout] = &layouts[..] else { bail!("not one layout: {layouts:?}") };
    let older = pins.join("layout-0");
    fs::rename(layout, &older)?;
    Ok(older)
}
