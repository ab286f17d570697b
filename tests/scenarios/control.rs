//! The control plane with broken manifests, and without a control plane.

use std::{
    io::{Read, Write},
    time::Duration,
};

use anyhow::{Result, ensure};
use weft_tests::{
    backends,
    load::{Steady, Style},
    mesh::{Description, Mesh, mesh},
    suite::Area,
};

pub(crate) fn area() -> Area {
    Area::new("control", two_pods)
        .scenario(
            "broken_manifest",
            "A broken manifest is reported with file, line and field; the last valid state stays in effect until it is \
             fixed.",
            broken_manifest,
        )
        .scenario(
            "broken_field",
            "A manifest with a wrong value is reported with file, line and field; the last valid state stays in \
             effect.",
            broken_field,
        )
        .scenario(
            "control_plane_is_away",
            "Without a control plane, known destinations are still reached; when it is back, changes take effect \
             again.",
            control_plane_is_away,
        )
}

fn two_pods() -> Description {
    mesh("control")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("web", |pod| pod.node("b").meshed().policy("all-authenticated"))
        .service("web", |service| service.port(80, 8080))
}

fn request(mesh: &Mesh) -> Result<()> {
    let mut stream = mesh.pod("client").connect(mesh.service("web").at(80))?;
    stream.write_all(b"?")?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"?");
    Ok(())
}

fn broken_manifest(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("web").serve(8080, backends::echo())?;
    request(mesh)?;
    let good = mesh.read("pod-web.yaml")?;
    // An indentation that no YAML parser accepts.
    let broken = good.replace("  labels:\n", "  labels:\n :broken\n");
    let line = 1 + broken.lines().position(|line| line == " :broken").unwrap_or_default();
    mesh.write("pod-web.yaml", &broken)?;
    let said = mesh.control().log().expect_line(&["pod-web.yaml"])?;
    let near = (line - 1..=line + 1).any(|line| said.contains(&format!("pod-web.yaml:{line}")));
    ensure!(near, "line {line} is broken; reported: {said}");
    for _ in 0..20 {
        request(mesh)?;
    }
    mesh.write("pod-web.yaml", &good)?;
    request(mesh)?;
    server.no_failures()
}

fn broken_field(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("web").serve(8080, backends::echo())?;
    request(mesh)?;
    let good = mesh.read("pod-web.yaml")?;
    let broken = good.replace("\"all-authenticated\"", "\"all-friends\"");
    ensure!(good != broken, "the scenario does not find the field in {good}");
    let line = 1 + broken.lines().position(|line| line.contains("all-friends")).unwrap_or_default();
    mesh.write("pod-web.yaml", &broken)?;
    mesh.control().log().expect_line(&[
        &format!("pod-web.yaml:{line}"),
        "default-inbound-policy",
        "all-friends",
    ])?;
    for _ in 0..20 {
        request(mesh)?;
    }
    mesh.write("pod-web.yaml", &good)?;
    request(mesh)?;
    server.no_failures()
}

fn control_plane_is_away(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("web").serve(8080, backends::echo())?;
    let client = mesh.pod("client");
    let target = mesh.service("web").at(80);
    let load = Steady::start(client.netns(), target, Style::Fresh, 4, Duration::from_millis(5));
    load.keep_on(50)?;
    mesh.control().kill()?;
    load.keep_on(200)?;
    mesh.control().revive()?;
    load.keep_on(200)?;
    load.stop().no_failures()?;
    server.no_failures()?;

    let late = mesh.add_pod("late", |pod| pod.node("b").meshed().policy("all-authenticated"))?;
    let server = late.serve(8081, backends::echo())?;
    weft_tests::wait::until_ok("the new pod is reached", || {
        let mut stream = client.connect(late.at(8081))?;
        stream.write_all(b"?")?;
        Ok(stream.read_exact(&mut [0])?)
    })?;
    ensure!(server.accepted() > 0);
    Ok(())
}
