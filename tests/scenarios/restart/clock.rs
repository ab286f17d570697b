//! The system clock is set forward and back.
//!
//! The machine's clock does not change: libfaketime shows weft's processes another time of day. The offset is in a file
//! that it reads each time.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    load::{Steady, Style},
    mesh::{Description, Mesh, mesh},
    suite::Area,
    texts::log,
    wait,
};

pub(super) fn scenarios(area: Area) -> Area {
    area.alone(
        "clock_jumps",
        "When the clock is set forward, by less and by more than the lifetime of a certificate, and back to \
         before it was issued, certificates are renewed; open connections go on, and later ones do not fail.",
        description,
        jumps,
    )
}

const HOUR: i64 = 3600;

/// Contains the offset in seconds.
fn file() -> PathBuf {
    std::env::temp_dir().join(format!("weft-clock-{}", std::process::id()))
}

fn ahead_by(seconds: i64) -> Result<()> {
    let draft = file().with_extension("new");
    fs::write(&draft, format!("{seconds:+}\n"))?;
    Ok(fs::rename(draft, file())?)
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.is_file())
}

fn description() -> Description {
    let cluster = mesh("clock")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("web", |pod| pod.node("b").meshed().policy("all-authenticated"))
        .service("web", |service| service.port(80, 8080));
    match (library(), ahead_by(0)) {
        (Some(library), Ok(())) => cluster
            .env("LD_PRELOAD", &library.display().to_string())
            .env("FAKETIME_TIMESTAMP_FILE", &file().display().to_string())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        // The scenario reports what is missing.
        _ => cluster,
    }
}

/// When the certificate of a node's pod expires.
fn expires(mesh: &Mesh, node: &str) -> Result<f64> {
    Ok(mesh.proxy(node).metrics()?.value("control_identity_cert_expiration_timestamp_seconds", &[]))
}

/// For each style.
const CLIENTS: u64 = 4;

fn jumps(mesh: &Mesh) -> Result<()> {
    library().context("libfaketime: is the Debian package faketime installed?")?;
    let server = mesh.pod("web").serve(8080, backends::echo())?;
    let (client, target) = (mesh.pod("client"), mesh.service("web").at(80));
    let loads = [Style::Fresh, Style::Kept].map(|style| {
        Steady::start(client.netns(), target, style, CLIENTS as usize, Duration::from_millis(5))
    });
    let keep_on = || loads.iter().try_for_each(|load| load.keep_on(200));
    keep_on()?;
    let first = [expires(mesh, "a")?, expires(mesh, "b")?];
    let failures = || loads[0].so_far().failures.values().sum::<u64>();

    // Certificates are valid for a day.
    ahead_by(HOUR)?;
    for node in ["a", "b"] {
        mesh.proxy(node).log().expect_line(&[log::CLOCK_SET, "forward=true"])?;
    }
    keep_on()?;
    ensure!(expires(mesh, "a")? == first[0], "renewed, although it is valid for many more hours");

    let renewed = |what: &str, fits: &dyn Fn(f64) -> bool| {
        wait::until(what, || ["a", "b"].iter().all(|node| expires(mesh, node).is_ok_and(fits)))
    };
    ensure!(failures() == 0, "{:?}", loads[0].so_far());
    ahead_by(30 * HOUR)?;
    renewed("the expired certificates are renewed", &|end| end > first[0] + 29.0 * HOUR as f64)?;
    // A handshake may have presented a certificate that expired before it was verified: at most one connection of each
    // client.
    let only_at_the_jump = |max: u64| {
        keep_on()?;
        let now = failures();
        ensure!(now <= max, "{now} failures, {max} at most: {:?}", loads[0].so_far());
        keep_on()?;
        ensure!(failures() == now, "connections that began later have failed: {:?}", loads[0].so_far());
        Ok(now)
    };
    let now = only_at_the_jump(CLIENTS)?;
    ahead_by(0)?;
    renewed("certificates that are not valid yet are replaced", &|end| end < first[0] + HOUR as f64)?;
    only_at_the_jump(now + CLIENTS)?;
    let [fresh, kept] = loads;
    let met = fresh.stop();
    println!("{} connections, failures when the clock was set: {:?}", met.connections, met.failures);
    kept.stop().no_failures()?;
    for node in ["a", "b"] {
        let renewals =
            mesh.proxy(node).metrics()?.value("control_identity_cert_refreshes_total", &[("result", "ok")]);
        ensure!(renewals <= 4.0, "{renewals} renewals of one identity for three jumps");
        let state = mesh.proxy(node).config()?["workloads"].to_string();
        ensure!(!state.contains("JOINING"), "{state}");
    }
    server.no_failures()?;
    fs::remove_file(file())?;
    Ok(())
}
