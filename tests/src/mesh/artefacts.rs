//! Where weft's programs are, and where the logs of failures are kept.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::Mesh;

/// Lines of each log that are shown after a failure.
const TAIL: usize = 25;

/// Cargo's target directory: this program is in `<target>/<profile>`, or in `deps` below it.
pub fn target_directory() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let above = own.parent().is_some_and(|folder| folder.ends_with("deps"));
    let target = own.ancestors().nth(if above { 3 } else { 2 });
    target.map(Path::to_owned).context("this program is not in a target directory")
}

/// Copies the cluster's logs and manifests to `<target>/scenarios/<name>/` and returns the last lines of the logs.
pub fn keep(mesh: &Mesh, name: &str) -> String {
    match try_keep(mesh, name) {
        Ok(text) => text,
        Err(e) => format!("\ncannot keep the logs: {e:#}"),
    }
}

fn try_keep(mesh: &Mesh, name: &str) -> Result<String> {
    let kept = target_directory()?.join("scenarios").join(name.replace("::", "/"));
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    fs::create_dir_all(&kept)?;
    let cluster = mesh.cluster()?;
    let layout = cluster.layout();
    for (source, part) in [
        (layout.logs_dir(), "logs"),
        (layout.overlay_dir(), "allotted"),
        (mesh.manifests.path().into(), "manifests"),
    ] {
        copy_files(&source, &kept.join(part))?;
    }
    for proxy in mesh.proxies() {
        if let Ok(metrics) = proxy.metrics() {
            fs::write(kept.join(format!("metrics-{}", proxy.node())), metrics.show(""))?;
        }
    }
    let logs = mesh.proxies().iter().map(super::Proxy::log).chain([mesh.control().log()]);
    let tails = logs.map(|log| {
        let name = log.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!("\n--- end of {name}\n{}", log.tail(TAIL))
    });
    let problems =
        mesh.problems().into_iter().map(|problem| format!("\n--- problem of the cluster: {problem}"));
    Ok(tails.chain(problems).chain([format!("\n--- all logs are in {}", kept.display())]).collect())
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
