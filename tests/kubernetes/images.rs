//! weft's images, as `cargo xtask image` packs them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_tests::{
    kubernetes::{output, weft_images},
    suite::Area,
};

const IMAGES: [&str; 4] = ["weft-control", "weft-demo", "weft-proxy", "weft-viz"];
/// It loads eBPF programs and enters network namespaces.
const AS_ROOT: &str = "weft-proxy";
/// What a node downloads.
const LARGEST: u64 = 60_000_000;
const LABELS: [&str; 6] = ["title", "description", "version", "revision", "source", "licenses"];

pub(crate) fn area() -> Area {
    Area::without_cluster("kubernetes::images")
        .bare("all_are_packed", "There is an archive of each image, and of nothing else.", all_are_packed)
        .bare(
            "all_run_without_root_but_the_proxy",
            "Every image but the proxy's names a user that is not root.",
            users,
        )
        .bare(
            "all_say_what_they_are",
            "Every image has its version, its commit and its source as labels.",
            labels,
        )
        .bare("all_are_small", "Every image is smaller than 60 MB.", sizes)
        .bare(
            "all_have_one_program",
            "Every image has its own program as the only one, and no shell.",
            programs,
        )
}

/// An archive in OCI's image layout.
struct Image {
    name: String,
    archive: PathBuf,
    /// Its configuration (OCI's image specification, config.md).
    config: Value,
    /// The blobs of its layers.
    layers: Vec<String>,
}

fn images() -> Result<Vec<Image>> {
    weft_images()?.into_iter().map(Image::read).collect()
}

impl Image {
    fn read(archive: PathBuf) -> Result<Self> {
        let name = archive.file_stem().context("no name")?.to_string_lossy().into_owned();
        let json =
            |member: &str| -> Result<Value> { Ok(serde_json::from_str(&member_of(&archive, member)?)?) };
        let index = json("index.json")?;
        let manifests = index["manifests"].as_array().context("the index has no manifests")?;
        ensure!(manifests.len() == 1, "{name}: {index}");
        let manifest = json(&blob(&manifests[0])?)?;
        let config = json(&blob(&manifest["config"])?)?;
        let layers = manifest["layers"].as_array().context("no layers")?.iter().map(blob);
        Ok(Self { name, config, layers: layers.collect::<Result<_>>()?, archive })
    }

    /// The files of all layers.
    fn files(&self) -> Result<BTreeSet<String>> {
        let mut files = BTreeSet::new();
        for layer in &self.layers {
            let list = format!("tar -xOf {} {layer} | tar -tzf -", self.archive.display());
            let list = output(Command::new("bash").args(["-o", "pipefail", "-c", &list]))?;
            files.extend(list.lines().filter(|line| !line.ends_with('/')).map(str::to_owned));
        }
        Ok(files)
    }
}

fn member_of(archive: &Path, member: &str) -> Result<String> {
    output(Command::new("tar").arg("-xOf").arg(archive).arg(member))
}

/// The member that a descriptor leads to.
fn blob(descriptor: &Value) -> Result<String> {
    let digest = descriptor["digest"].as_str().with_context(|| format!("no digest: {descriptor}"))?;
    Ok(format!("blobs/{}", digest.replace(':', "/")))
}

fn all_are_packed() -> Result<()> {
    let mut names: Vec<String> = images()?.into_iter().map(|image| image.name).collect();
    names.sort();
    ensure!(names == IMAGES, "{names:?}");
    Ok(())
}

fn users() -> Result<()> {
    for Image { name, config, .. } in images()? {
        let user = config["config"]["User"].as_str().unwrap_or_default();
        let id = user.split(':').next().unwrap_or_default();
        // Kubernetes compares numbers only (runAsNonRoot).
        let is_root = id.parse::<u32>().map_or(true, |id| id == 0);
        ensure!(is_root == (name == AS_ROOT), "{name} has the user {user:?}");
    }
    Ok(())
}

fn labels() -> Result<()> {
    for Image { name, config, .. } in images()? {
        let label = |label: &str| {
            let value = config["config"]["Labels"][format!("org.opencontainers.image.{label}")].as_str();
            value.filter(|value| !value.is_empty()).with_context(|| format!("{name} has no {label}"))
        };
        LABELS.iter().try_for_each(|name| label(name).map(drop))?;
        ensure!(label("title")? == name, "{name} has the title {:?}", label("title")?);
        ensure!(label("version")? == env!("CARGO_PKG_VERSION"), "{name} is {}", label("version")?);
        ensure!(label("source")?.starts_with("https://"), "{name}: {}", label("source")?);
        let entrypoint = &config["config"]["Entrypoint"][0];
        ensure!(*entrypoint == format!("/usr/bin/{name}"), "{name} starts {entrypoint}");
    }
    Ok(())
}

fn sizes() -> Result<()> {
    for Image { name, archive, .. } in images()? {
        let size = fs::metadata(&archive)?.len();
        println!("{name}: {:.1} MB", size as f64 / 1e6);
        ensure!(size < LARGEST, "{name} has {size} bytes");
    }
    Ok(())
}

fn programs() -> Result<()> {
    for image in images()? {
        let files = image.files()?;
        let is_program =
            |file: &&String| file.split('/').rev().nth(1).is_some_and(|folder| folder.ends_with("bin"));
        let programs: Vec<_> = files.iter().filter(is_program).collect();
        ensure!(programs == [&format!("usr/bin/{}", image.name)], "{}: {programs:?}", image.name);
    }
    Ok(())
}
