//! Builds the images of the cluster itself and of its tests: pause, CoreDNS, Prometheus, and a toolbox of clients
//! and servers.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use super::{cache, prometheus};
use crate::{
    buildah::{self, Image},
    host, steps,
};

const SOURCES: [&str; 6] = [
    "xtask/cluster/images/pause.Dockerfile",
    "xtask/cluster/images/pause.c",
    "xtask/cluster/images/coredns.Dockerfile",
    "xtask/cluster/images/prometheus.Dockerfile",
    "xtask/cluster/images/toolbox.Dockerfile",
    "deploy/images/collect.sh",
];

/// The toolbox's programs, with the libraries that they need.
const TOOLS: [&str; 3] = ["curl", "socat", "nc"];

/// Builds those that are missing in `folder/images`, and all of them if a source has changed.
pub(super) fn ensure(folder: &Path) -> Result<()> {
    let images = folder.join("images");
    let (stamp, hash) = (images.join("stamp"), cache::fingerprint("", &SOURCES)?);
    if fs::read_to_string(&stamp).ok().as_ref() != Some(&hash) {
        let _ = fs::remove_dir_all(&images);
        fs::create_dir_all(&images).with_context(|| images.display().to_string())?;
        fs::write(&stamp, hash)?;
    }
    let is_missing = |name: &str| !images.join(format!("{name}.tar")).is_file();
    if is_missing("pause") {
        build(&images, "pause", "localhost/pause:1", pause)?;
    }
    if is_missing("coredns") {
        build(&images, "coredns", "localhost/coredns:1.12.4", |content| {
            fs::copy(folder.join("bin/coredns"), content.join("coredns")).context("coredns").map(drop)
        })?;
    }
    if is_missing("prometheus") {
        let tag = format!("docker.io/prom/prometheus:v{}", prometheus::VERSION);
        build(&images, "prometheus", &tag, |content| {
            fs::copy(folder.join("bin/prometheus"), content.join("prometheus"))
                .context("prometheus")
                .map(drop)
        })?;
    }
    if is_missing("toolbox") {
        build(&images, "toolbox", "localhost/weft-toolbox:1", toolbox)?;
    }
    println!("    {}", images.display());
    Ok(())
}

/// Fills a folder and makes it an image.
fn build(images: &Path, name: &str, tag: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    println!("    {name}");
    let content = host::target_dir().join("xtask/images").join(name);
    let _ = fs::remove_dir_all(&content);
    fs::create_dir_all(&content)?;
    fill(&content).with_context(|| format!("the image {name}"))?;
    let dockerfile = host::root().join(format!("xtask/cluster/images/{name}.Dockerfile"));
    buildah::build(&Image {
        tag,
        dockerfile: &dockerfile,
        context: &content,
        arguments: &[],
        stage: None,
        seconds: 0,
        archive: &images.join(format!("{name}.tar")),
    })?;
    fs::remove_dir_all(content)?;
    Ok(())
}

fn pause(content: &Path) -> Result<()> {
    let mut cc = Command::new("cc");
    cc.args(["-Os", "-static", "-s", "-o"]).arg(content.join("pause"));
    cc.arg(host::root().join("xtask/cluster/images/pause.c"));
    steps::quiet(&mut cc, "image-pause", Duration::from_secs(60))
}

fn toolbox(content: &Path) -> Result<()> {
    let mut collect = Command::new(host::root().join("deploy/images/collect.sh"));
    collect.arg(content);
    for tool in TOOLS.iter().chain(&["busybox"]) {
        collect.arg(host::which(tool).with_context(|| format!("no program {tool}"))?);
    }
    steps::quiet(&mut collect, "image-toolbox", Duration::from_secs(60))
}
